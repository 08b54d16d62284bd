//! A machine whose disk has broken a promise is excused until it has come through, and then no more.

use quorate_sim::dials::{Choice, Dials, Fault};
use quorate_sim::excuse::Excuse;
use quorate_sim::violation::Violation;
use quorate_sim::world::{Happening, World};
use quorate_wal::Memory;

/// The machine that is damaged.
const AT: usize = 0;

/// A calm world that goes on by one event at a time.
fn calm() -> World {
    let choice = Choice { events: Some(0), ..super::choice(1, 600) };
    World::with(&choice, Dials::calm(3))
}

/// Lives on until something is so.
fn live_until(world: &mut World, is_so: impl Fn(&World) -> bool) -> Result<(), Violation> {
    while !is_so(world) {
        assert!(world.healing.is_none(), "it has not come to that");
        world.run()?;
    }
    Ok(())
}

fn kill(world: &mut World) -> Result<(), Violation> {
    world.schedule.at(world.now, Happening::Relief(Fault::CrashLoop, AT));
    live_until(world, |world| !world.seats[AT].is_running())
}

/// Its process dies, and its log is gone.
fn lose_log(world: &mut World) -> Result<(), Violation> {
    kill(world)?;
    let empty = Memory::new(world.dice.draw());
    world.seats[AT].disk.replace(empty);
    Ok(())
}

/// The process runs and may sign; not the one of an earlier life.
fn comes_through(world: &mut World) -> Result<(), Violation> {
    live_until(world, |world| {
        let replica = world.seats[AT].replica.as_ref();
        replica.is_some_and(|replica| {
            let core = replica.driver.core();
            core.may_sign() && !core.ballot().recovering
        })
    })
}

fn has_signed() -> World {
    let mut world = calm();
    live_until(&mut world, |world| world.now > 5_000_000).unwrap();
    world
}

const SHORT: &str = "a log comes back with what was durable";

#[test]
fn a_loss_after_a_damaged_machine_has_come_through_is_seen() {
    let mut world = has_signed();
    lose_log(&mut world).unwrap();
    world.seats[AT].spoil();
    comes_through(&mut world).unwrap();
    assert!(world.seats[AT].has_recovered, "it has forgotten something");
    // The log that it has now is a new one, and nobody has read it yet; that it was readmitted may not be in it when
    // it is killed.
    for _ in 0..3 {
        kill(&mut world).unwrap();
        comes_through(&mut world).unwrap();
    }
    assert!(!world.seats[AT].excuse.is_given(), "it has come through");

    lose_log(&mut world).unwrap();
    let seen = comes_through(&mut world).unwrap_err();
    assert_eq!(seen.rule, SHORT);
    assert!(world.seats[AT].damaged, "no other disk may be spent in its place");
}

#[test]
fn a_second_damage_is_excused_like_the_first() {
    let mut world = has_signed();
    for _ in 0..2 {
        lose_log(&mut world).unwrap();
        world.seats[AT].spoil();
        comes_through(&mut world).unwrap();
        kill(&mut world).unwrap();
        comes_through(&mut world).unwrap();
    }
}

#[test]
fn a_loss_without_damage_is_seen() {
    let mut world = has_signed();
    lose_log(&mut world).unwrap();
    assert_eq!(comes_through(&mut world).unwrap_err().rule, SHORT);
}

/// What is left of an excuse when the process has started and may sign.
fn after_a_start(mut excuse: Excuse, whole: bool) -> Excuse {
    excuse.starts(whole);
    excuse.may_sign();
    excuse
}

#[test]
fn an_excuse_ends_with_a_start_that_brings_everything() {
    let mut excuse = Excuse::default();
    assert!(!excuse.is_given());
    excuse.begin();
    excuse.may_sign();
    assert!(excuse.is_given(), "it has not started since");
    let short = after_a_start(excuse, false);
    assert!(short.is_given());
    assert!(!after_a_start(short, true).is_given());
    excuse.starts(true);
    assert!(excuse.is_given(), "others may know more");
    excuse.begin();
    excuse.may_sign();
    assert!(excuse.is_given(), "it was damaged again before it signed");
}

#[test]
fn a_lie_of_a_disk_is_excused_until_the_power_has_been_gone() {
    let mut excuse = Excuse::default();
    excuse.begin();
    excuse.is_a_lie();
    excuse = after_a_start(excuse, true);
    assert!(excuse.is_given(), "the cache has what the platter lacks");
    let copied = excuse;
    excuse.lies_show();
    excuse = after_a_start(excuse, true);
    assert!(!excuse.is_given());
    excuse.begin();
    excuse.takes_over(copied);
    assert!(after_a_start(excuse, true).is_given(), "a copy from before that lacks it too");
}
