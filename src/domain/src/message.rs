//! Commands, events, replies and refusals of all kinds of entity as one type each.
//!
//! It lies below the machines, which ask each other through it. The states and their decisions are in [`any`](super::any), above them.

use super::kinds::each_kind;
use serde::{Deserialize, Serialize};

macro_rules! messages {
    ($($kind:ident => $module:ident :: $state:ident),+ $(,)?) => {
        /// A command to an entity of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Command { $( #[doc = stringify!($kind)] $kind(crate::$module::Command) ),+ , /** A deadline may have come: every kind understands this. */ Wake }
        /// An event of an entity of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event { $( #[doc = stringify!($kind)] $kind(crate::$module::Event) ),+ }
        /// An answer of an entity of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Reply { $( #[doc = stringify!($kind)] $kind(crate::$module::Reply) ),+ , /** Accepted, and there is nothing to say. */ Done }
        /// A lawful "no" of an entity of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Refusal { $( #[doc = stringify!($kind)] $kind(crate::$module::Refusal) ),+ , /** The command is of another kind than the entity. */ WrongKind, /** It is another principal's (rule P4). */ NotYours }
    };
}

each_kind!(messages);
