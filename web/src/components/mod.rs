//! The kit: what the screens are made of.

pub mod dialog;
pub mod diff;
pub mod editor;
pub mod flow;
pub mod form;
pub mod gradually;
pub mod icon;
pub mod language;
pub mod log;
pub mod menu;
pub mod modules;
pub mod notice;
pub mod picture;
pub mod plain;
pub mod register;
pub mod resources;
pub mod shell;
pub mod state;
pub mod stepper;
pub mod timeline;
pub mod tray;
