//! Fleetform plans AI infrastructure on several clouds.
//!
//! A directory of HCL says which models and services run and which clouds may be used. Everything
//! between that and the clouds is one pipeline of values:
//!
//! ```text
//!  *.hcl ──► Stack ──► Problem ──► Placement ──► Resources ──► Plan ──► State
//!      config     problem    placement     resources      plan     apply
//!                    ▲                                      ▲         │
//!         offerings, quotas, last placement        State, clouds (refresh) ◄┘
//! ```
//!
//! A stage is a module with one noun and one verb, and uses the nouns of earlier stages only:
//!
//! | stage | takes | gives | verb |
//! |---|---|---|---|
//! | [`config`] | a directory | [`config::Stack`] | [`config::evaluate`] |
//! | [`problem`] | a stack, what can be rented | [`problem::Problem`] | [`problem::pose`] |
//! | [`placement`] | a problem | [`placement::Placement`] | [`placement::solve`] |
//! | [`resources`] | a placement | resources by address | [`resources::expand`] |
//! | [`refresh`] | records | [`refresh::Observed`] | [`refresh::observe`] |
//! | [`plan`] | resources, records | [`plan::Plan`] | [`plan::diff`] |
//! | [`apply`] | a plan | the world, and the state | [`apply::run`] |
//!
//! `config` reads files, `refresh` reads clouds, `apply` writes clouds and the state; everything between
//! is a pure function: no clock, environment, network or printing. [`view`] turns values into text and
//! JSON, and `cli` wires the stages together, one file a verb. Destroying is a plan of nothing; drift
//! is a refresh of what is recorded. There are no modes.

pub mod diagnostic;

pub mod config;

pub mod problem;

pub mod placement;

pub mod clouds;

pub mod resources;

pub mod refresh;

pub mod plan;

pub mod apply;

pub mod view;

pub mod cli;
