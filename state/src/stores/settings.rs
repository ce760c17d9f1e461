//! What a `state` block says: which store, and where. The list of stores is here alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{HttpStore, LocalStore, PostgresStore, buckets};
use crate::Store;

/// A kind of store, as it is written: `state "s3" { … }`.
pub struct Kind {
    pub name: &'static str,
    pub arguments: &'static [Known],
    /// For a hint.
    pub example: &'static str,
}

/// An argument that a kind takes.
pub struct Known {
    pub name: &'static str,
    /// What Terraform's backend calls it, where that is another word; it is taken as well.
    pub terraform: Option<&'static str>,
    pub shape: Shape,
    pub required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Flag,
    /// Seconds, written as a duration.
    Seconds,
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    Text(String),
    Flag(bool),
    Seconds(f64),
}

/// A `state` block.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub kind: String,
    pub arguments: BTreeMap<String, Argument>,
}

/// What is around the block: whose state it is, and the environment of the process.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub stack: String,
    /// `-env`, where given: it gives the state its own name.
    pub environment: Option<String>,
    /// What relative paths are relative to.
    pub directory: PathBuf,
    pub variables: BTreeMap<String, String>,
}

/// Why a store cannot be opened as the block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The argument that it is about.
    pub argument: Option<&'static str>,
    pub summary: &'static str,
    pub detail: String,
    pub hint: String,
}

impl Kind {
    /// The argument that is written so.
    pub fn argument(&self, name: &str) -> Option<&'static Known> {
        self.arguments.iter().find(|known| known.names().any(|one| one == name))
    }
}

impl Known {
    /// How it may be written: our word first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.name].into_iter().chain(self.terraform)
    }

    const fn required(self) -> Known {
        Known { required: true, ..self }
    }

    const fn or(self, terraform: &'static str) -> Known {
        Known { terraform: Some(terraform), ..self }
    }
}

impl Default for Settings {
    /// A directory beside the stack.
    fn default() -> Settings {
        Settings { kind: "local".into(), arguments: BTreeMap::new() }
    }
}

const fn argument(name: &'static str, shape: Shape) -> Known {
    Known { name, terraform: None, shape, required: false }
}

const fn text(name: &'static str) -> Known {
    argument(name, Shape::Text)
}

static KINDS: &[Kind] = &[
    Kind {
        name: "local",
        arguments: &[text("path")],
        example: "state \"local\" { path = \"state\" }",
    },
    Kind {
        name: "s3",
        arguments: &[
            text("bucket").required(),
            text("prefix").or("key"),
            text("region"),
            text("endpoint"),
            text("profile"),
        ],
        example: "state \"s3\" { bucket = \"acme-state\" }",
    },
    Kind {
        name: "gcs",
        arguments: &[
            text("bucket").required(),
            text("prefix"),
            text("endpoint"),
            text("credentials"),
        ],
        example: "state \"gcs\" { bucket = \"acme-state\" }",
    },
    Kind {
        name: "azblob",
        arguments: &[
            text("container").or("container_name").required(),
            text("account").or("storage_account_name"),
            text("prefix").or("key"),
            text("endpoint"),
        ],
        example: "state \"azblob\" { account = \"acme\", container = \"state\" }",
    },
    Kind {
        name: "postgres",
        arguments: &[
            text("url").or("conn_str"),
            text("table"),
            text("name"),
            argument("create_table", Shape::Flag),
            text("root_certificate"),
        ],
        example: "state \"postgres\" { url = \"postgres://deploy@db.example.com/fleetform\" }",
    },
    Kind {
        name: "http",
        arguments: &[
            text("address"),
            text("lock_address"),
            text("unlock_address"),
            text("update_method"),
            text("lock_method"),
            text("unlock_method"),
            text("username"),
            text("root_certificate"),
            argument("lock_timeout", Shape::Seconds),
        ],
        example: "state \"http\" { address = \"https://state.example.com/chat\" }",
    },
];

/// Every kind of store.
pub fn kinds() -> &'static [Kind] {
    KINDS
}

pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The store that the block describes. Reaches nothing yet: what cannot be reached is said by the
/// first operation.
pub fn open(settings: &Settings, around: &Surroundings) -> Result<Arc<dyn Store>, Refusal> {
    let arguments = Arguments { settings, around };
    Ok(match settings.kind.as_str() {
        "local" => {
            let path = Path::new(arguments.text("path").unwrap_or("state"));
            let mut directory = around.directory.join(path);
            if let Some(environment) = &around.environment {
                directory = directory.join("envs").join(environment);
            }
            Arc::new(LocalStore::new(directory))
        }
        "s3" => Arc::new(buckets::s3(&arguments)?),
        "gcs" => Arc::new(buckets::gcs(&arguments)?),
        "azblob" => Arc::new(buckets::azblob(&arguments)?),
        "postgres" => Arc::new(PostgresStore::from_arguments(&arguments)?),
        "http" => Arc::new(HttpStore::from_arguments(&arguments)?),
        other => {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Refusal {
                argument: None,
                summary: "Unknown state store",
                detail: format!("There is no state store {other:?}."),
                hint: format!("the stores are {}", names.join(", ")),
            });
        }
    })
}

/// A block's arguments with what is around it.
pub(crate) struct Arguments<'a> {
    pub settings: &'a Settings,
    pub around: &'a Surroundings,
}

impl<'a> Arguments<'a> {
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.settings.arguments.get(name)? {
            Argument::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.settings.arguments.get(name)? {
            Argument::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn seconds(&self, name: &str) -> Option<f64> {
        match self.settings.arguments.get(name)? {
            Argument::Seconds(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// An environment variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        self.around.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The argument, or the first of these environment variables that is set.
    pub fn text_or(&self, name: &str, variables: &[&str]) -> Option<&'a str> {
        self.text(name).or_else(|| variables.iter().find_map(|name| self.variable(name)))
    }

    /// Below what the state of this stack and environment is kept: the prefix, or the stack's name.
    pub fn prefix(&self) -> String {
        let prefix = self.text("prefix").unwrap_or(&self.around.stack).trim_matches('/');
        match &self.around.environment {
            Some(environment) => format!("{prefix}/envs/{environment}"),
            None => prefix.to_owned(),
        }
    }

    /// A file of the stack.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|path| self.around.directory.join(path))
    }
}

/// Refuses what is no address of a server.
pub(crate) fn check_url(argument: &'static str, url: &str) -> Result<(), Refusal> {
    let why = match reqwest::Url::parse(url) {
        Ok(parsed) if !["http", "https"].contains(&parsed.scheme()) => {
            format!("its scheme is {:?}", parsed.scheme())
        }
        Ok(parsed) if parsed.host_str().is_none_or(str::is_empty) => "it names no host".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(Refusal {
        argument: Some(argument),
        summary: "Invalid URL",
        detail: format!("{url:?} is no address of a server: {why}."),
        hint: "an address begins with `https://` or `http://`".into(),
    })
}
