//! What was measured as one page for a browser: nothing is loaded from elsewhere, and nothing in it runs.
//!
//! It has a section for each thing that was measured. Who measures something anew puts its section in the place of the old
//! one, and the others stay: one page, however many commands it took.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use quorate_node::exit::{Exit, Failure};

use crate::work::System;

const STYLE: &str = "
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
         color: #1c2733; background: #fff }
  h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 0 }
  h3 { font-size: 1.05rem; margin: 1.5rem 0 0 }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem 2rem }
  svg { width: 100%; height: auto; font: 11px system-ui, sans-serif } .grid { stroke: #8899aa; stroke-opacity: .25 }
  .key { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin: 0 .35em 0 1em }
  pre { overflow-x: auto; font: 12px/1.5 ui-monospace, monospace }
  @media (prefers-color-scheme: dark) { body { color: #d8e0e8; background: #161b21 } svg text { fill: #d8e0e8 } }
";

/// What every page begins with, and no other file.
const MARK: &str = "<!doctype html>\n<!-- quorate bench -->\n";
const END: &str = "</body></html>\n";

/// The sections, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    /// Each kind of work, by how many clients.
    Work,
    /// By the length of the chain.
    Chain,
    /// By the number of keys.
    Keys,
    /// By the number of validators.
    Groups,
}

impl Section {
    const ALL: [Self; 4] = [Self::Work, Self::Chain, Self::Keys, Self::Groups];

    /// What stands before it and after it.
    const fn fence(self) -> (&'static str, &'static str) {
        match self {
            Self::Work => ("<!-- work -->\n", "<!-- end of work -->\n"),
            Self::Chain => ("<!-- chain -->\n", "<!-- end of chain -->\n"),
            Self::Keys => ("<!-- keys -->\n", "<!-- end of keys -->\n"),
            Self::Groups => ("<!-- groups -->\n", "<!-- end of groups -->\n"),
        }
    }

    /// It, if a page has it.
    fn within(self, page: &str) -> Option<String> {
        let (begin, end) = self.fence();
        let (_, rest) = page.split_once(begin)?;
        rest.split_once(end).map(|(section, _)| section.to_owned())
    }
}

/// A file that is a page, or will be.
#[derive(Debug)]
pub(crate) struct Page(PathBuf);

impl Page {
    /// The page in a file. It is written once as it is, or without sections if there is none: what takes long to be measured
    /// should not be in vain.
    pub(crate) fn in_file(path: &Path) -> Result<Self, Failure> {
        let page = Self(path.to_owned());
        page.put([])?;
        Ok(page)
    }

    /// Puts sections in their places. All others stay, whoever has put them there meanwhile.
    pub(crate) fn put(
        &self,
        sections: impl IntoIterator<Item = (Section, String)>,
    ) -> Result<(), Failure> {
        let mut all = self.sections()?;
        all.extend(sections);
        self.replace(&written(&all)).map_err(|error| self.storage(&error))
    }

    fn storage(&self, error: &io::Error) -> Failure {
        Failure::new(Exit::Storage, format!("{}: {error}", self.0.display()))
    }

    /// What stands there.
    fn sections(&self) -> Result<BTreeMap<Section, String>, Failure> {
        let old = match std::fs::read(&self.0) {
            Ok(bytes) => String::from_utf8(bytes).ok().filter(|it| is_ours(it)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(String::new()),
            Err(error) => return Err(self.storage(&error)),
        };
        let old = old.ok_or_else(|| {
            let why = "is there, is no page that this program has written, and stays as it is; name another file";
            Failure::new(Exit::Usage, format!("{} {why}", self.0.display()))
        })?;
        let all = Section::ALL.into_iter();
        Ok(all.filter_map(|section| Some((section, section.within(&old)?))).collect())
    }

    /// Writes beside the file and takes its place, so that the old page is there until the new one is.
    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let all_may_read = Permissions::from_mode(0o644);
        let mut beside = tempfile::Builder::new().permissions(all_may_read).tempfile_in(folder)?;
        beside.write_all(text.as_bytes())?;
        beside.persist(&self.0)?;
        Ok(())
    }
}

/// Whether a file is empty, or a whole page.
fn is_ours(old: &str) -> bool {
    let whole = |section: Section| {
        let (begin, end) = section.fence();
        old.contains(begin) == old.contains(end)
    };
    old.is_empty()
        || old.starts_with(MARK) && old.ends_with(END) && Section::ALL.into_iter().all(whole)
}

/// A page as text.
fn written(sections: &BTreeMap<Section, String>) -> String {
    let mut out = format!(
        "{MARK}<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Quorate, measured</title>\
         <style>{STYLE}</style></head><body>\n<h1>Quorate, measured</h1>\n"
    );
    for (section, text) in sections {
        let (begin, end) = section.fence();
        out.extend([begin, text, end]);
    }
    out.push_str(END);
    out
}

/// The colour of a system's lines.
pub(crate) const fn colour(system: System) -> &'static str {
    match system {
        System::Quorate => "#2a6fdb",
        System::Etcd => "#d9822b",
        System::Nats => "#3a9d5d",
    }
}

/// What a section begins with.
pub(crate) fn heading(title: &str) -> String {
    format!("<h2>{title}</h2>\n")
}

/// What a section ends with: all its figures as text.
pub(crate) fn figures(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<h3>All figures</h3>\n<pre>{text}</pre>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_anew_takes_the_place_of_its_section_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speed.html");
        let page = Page::in_file(&path).unwrap();
        let put = |section, text: &str| page.put([(section, figures(text))]).unwrap();
        put(Section::Keys, "a");
        // Somebody else, meanwhile.
        Page::in_file(&path).unwrap().put([(Section::Work, figures("b < c"))]).unwrap();
        put(Section::Keys, "d");
        let text = std::fs::read_to_string(&path).unwrap();
        let at = |what: &str| text.find(what);
        assert!(text.ends_with(END) && text.matches("<pre>").count() == 2, "{text}");
        assert!(at("b &lt; c").is_some() && at("b &lt; c") < at(">d<") && at(">a<").is_none());
    }

    #[test]
    fn a_file_of_somebody_else_and_a_page_that_was_cut_off_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.html");
        Page::in_file(&path).unwrap().put([(Section::Work, figures("a"))]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let cut = &whole[..whole.len() - 30];
        for content in [&b"<!doctype html>\n<p>mine"[..], b"\xff\xfe", cut] {
            std::fs::write(&path, content).unwrap();
            let failure = Page::in_file(&path).unwrap_err();
            assert!(failure.to_string().contains("index.html is there"), "{failure}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        std::fs::write(&path, b"").unwrap();
        Page::in_file(&path).unwrap();
    }

    #[test]
    fn a_place_that_takes_no_page_is_told_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Page::in_file(&folder.path().join("none/speed.html")).unwrap_err();
        assert!(failure.to_string().contains("speed.html"), "{failure}");
    }
}
