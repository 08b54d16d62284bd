//! How a world is founded: keys, the genesis, and what each validator is set up with.

use quorate_chain::crypto::SecretKey;
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator};
use quorate_chain::ids::{ChainId, NodeId, TimeUs};
use quorate_chain::roster::Lead;
use quorate_consensus::time::Span;
use quorate_replica::Setup;
use quorate_replica::setup::{Birth, Limits};
use quorate_wal::Options;

use crate::dials::{Dials, Fault};
use crate::dice::Dice;
use crate::seat::Seat;

/// The least time without a leader before a campaign.
pub const ELECTION_TIMEOUT: Span = Span::millis(1_000);
/// The heartbeat of every validator.
pub const HEARTBEAT: Span = Span::millis(100);

/// The keys and the genesis of a world.
#[derive(Clone)]
pub struct Founding {
    /// The genesis.
    pub genesis: Genesis,
    /// The hash of its file.
    pub chain_id: ChainId,
}

/// The secret key of a node.
#[must_use]
pub fn node_key(node: NodeId) -> SecretKey {
    SecretKey::from_seed(&[1 + node.get().to_le_bytes()[0]; 32])
}

/// The secret key of the only admin.
#[must_use]
pub fn admin_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

/// Founds a world.
#[must_use]
pub fn found(dials: &Dials) -> Founding {
    let validator = |id| GenesisValidator {
        name: format!("node{id}"),
        key: node_key(NodeId::new(id)).validator_key(),
        p2p: Vec::new(),
        api: Vec::new(),
        lead: Lead::Yes,
    };
    let genesis = Genesis {
        version: 1,
        name: "sim".to_owned(),
        time_us: TimeUs::ZERO,
        testnet: true,
        writers: Writers::Anyone,
        admins: GenesisAdmins { threshold: 1, keys: vec![admin_key().account_key()] },
        validators: (0..dials.nodes).map(validator).collect(),
        vote_quorum: None,
        finality_quorum: None,
        grants: Vec::new(),
    };
    let chain_id = Genesis::chain_id(&genesis.to_file());
    Founding { genesis, chain_id }
}

/// What a validator is set up with.
#[must_use]
pub fn setup(founding: &Founding, dials: &Dials, node: NodeId, dice: &mut Dice) -> Setup {
    let lead = match dice.below(6) {
        _ if !dials.has(Fault::Willingness) => None,
        0 => Some(Lead::No),
        1 => Some(Lead::Prefer),
        _ => None,
    };
    Setup {
        genesis: founding.genesis.clone(),
        chain_id: founding.chain_id,
        id: node,
        signer: dials.signatures.signer(node_key(node)),
        verifier: dials.signatures.verifier(),
        birth: Birth::Fresh(Seat::incarnation(node)),
        lead,
        limits: Limits {
            election_timeout: ELECTION_TIMEOUT,
            heartbeat: HEARTBEAT,
            window_blocks: dials.window,
            // So few that bytes fill it as often as blocks do.
            window_bytes: dials.window << 12,
            message_bytes: 1 << 16,
            block_transactions: 64,
            block_bytes: 1 << 18,
            block_interval: dials.block_interval.map(Span::micros),
            mempool_transactions: 512,
            mempool_bytes: 1 << 20,
            mempool_sender: 256,
            forward_again: Span::millis(2_000),
            forward_bytes: 1 << 16,
            reads: 64,
            checkpoint_every: dials.checkpoint_every,
            snapshot_every: dials.snapshot_every,
            keep_blocks: dials.keep_blocks,
        },
        wal: Options {
            segment: 64 << 10,
            align: 512,
            max_record: 5 << 20,
            max_group: 10 << 20,
            spares: 1,
            ..Options::default()
        },
        seed: dice.draw(),
    }
}
