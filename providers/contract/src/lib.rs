//! What every part of Fleetform agrees on: the nouns that travel between the planner, the state and
//! the clouds, and the traits a cloud implements.
//!
//! This crate is at the bottom: it does no I/O and knows no cloud. Arrows point at it.

mod address;
mod cloud;
pub mod conformance;
mod error;
mod location;
mod offering;
mod owner;
mod provider;
mod resource;
mod schema;
mod secret;
mod site;
mod tariff;
mod value;

pub use address::{Address, ParseAddressError};
pub use cloud::{Capacity, Cloud, ClusterSettings, NodeGroup, Pace, Quota, RateCard, Reservation};
pub use error::{Error, Result};
pub use location::Location;
pub use offering::{Market, Offering};
pub use owner::{Mark, Owner};
pub use provider::{KubeAccess, Objects, Progress, Provider, Silent, Token};
pub use resource::{Attributes, Record, Reference, Remote, Resource};
pub use schema::{Attribute, Ownership, Schema};
pub use secret::{Secret, SecretKey, Vault};
pub use site::{
    Autoscale, Health, JobSettings, Needs, Pool, Registry, Repository, SecretEnv, Site, Workload,
    WorkloadKind, ZoneSpread,
};
pub use tariff::{Tariff, TariffRegion, Tier};
pub use value::{Unknown, Value, path};
