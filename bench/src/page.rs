//! What was measured as one page for a browser: nothing is loaded from elsewhere, and nothing in it runs.
//!
//! It has a part for each thing that was measured. Who measures something anew puts its part in the place of the old
//! one, and the others stay: one page tells all, however many commands it took.

use std::collections::BTreeMap;
use std::io::ErrorKind;
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

/// The parts, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Each kind of work, by how many clients.
    Work,
    /// By the length of the chain.
    Chain,
    /// By the number of keys.
    Keys,
    /// By the number of validators.
    Groups,
}

impl Part {
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
        rest.split_once(end).map(|(part, _)| part.to_owned())
    }
}

/// A page, and the file where it goes.
#[derive(Debug)]
pub(crate) struct Page {
    path: PathBuf,
    parts: BTreeMap<Part, String>,
}

impl Page {
    /// The page that is there, or one without parts if there is none. Ask before anything is measured: what takes long
    /// should not be in vain.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let old = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).ok().filter(|old| old.starts_with(MARK)),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(String::new()),
            Err(error) => {
                return Err(Failure::new(Exit::Storage, format!("{}: {error}", path.display())));
            }
        };
        let old = old.ok_or_else(|| {
            let why =
                "is there, is no report of quorate bench, and stays as it is; name another file";
            Failure::new(Exit::Usage, format!("{} {why}", path.display()))
        })?;
        let parts = Part::ALL.into_iter().filter_map(|part| Some((part, part.within(&old)?)));
        Ok(Self { path: path.to_owned(), parts: parts.collect() })
    }

    /// Puts a part in its place.
    pub(crate) fn put(&mut self, part: Part, text: String) {
        self.parts.insert(part, text);
    }

    /// Writes it.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        std::fs::write(&self.path, self.text()).map_err(|error| {
            Failure::new(Exit::Storage, format!("{}: {error}", self.path.display()))
        })
    }

    fn text(&self) -> String {
        let mut out = format!(
            "{MARK}<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Quorate: how fast</title>\
             <style>{STYLE}</style></head><body>\n<h1>Quorate, measured</h1>\n"
        );
        for (part, text) in &self.parts {
            let (begin, end) = part.fence();
            out.extend([begin, text, end]);
        }
        out.push_str("</body></html>\n");
        out
    }
}

/// The colour of a system's lines.
pub(crate) const fn colour(system: System) -> &'static str {
    match system {
        System::Quorate => "#2a6fdb",
        System::Etcd => "#d9822b",
        System::Nats => "#3a9d5d",
    }
}

/// What a part begins with.
pub(crate) fn heading(title: &str) -> String {
    format!("<h2>{title}</h2>\n")
}

/// What a part ends with: all its figures as text.
pub(crate) fn figures(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<h3>All figures</h3>\n<pre>{text}</pre>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_anew_takes_the_place_of_its_part_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speed.html");
        for (part, text) in [(Part::Keys, "a"), (Part::Work, "b < c"), (Part::Keys, "d")] {
            let mut page = Page::open(&path).unwrap();
            page.put(part, figures(text));
            page.write().unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        let at = |what: &str| page.find(what);
        assert!(page.ends_with("</body></html>\n") && page.matches("<pre>").count() == 2, "{page}");
        assert!(at("b &lt; c").is_some() && at("b &lt; c") < at(">d<") && at(">a<").is_none());
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.html");
        for content in [&b"<!doctype html>\n<p>mine"[..], b"\xff\xfe"] {
            std::fs::write(&path, content).unwrap();
            let failure = Page::open(&path).unwrap_err();
            assert!(failure.to_string().contains("index.html is there"), "{failure}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }
}
