//! Tests of the room as a whole: meaning, plans, and that a plan finds what the meaning says.

mod asked;
mod fixture;
mod lists;
mod meaning;
mod names;
mod plans;
mod property;
mod scopes;
mod sorted;
mod untold;
