//! The macros by which texts are written in the source.

/// A text of the console in the language in use.
macro_rules! t {
    ($english:literal) => {
        $crate::language::t($english)
    };
}

/// A text of the console with values: `tf!("{node} waits", node)`, or `tf!("{0} left", 0 = time)`.
macro_rules! tf {
    ($english:literal $(, $name:tt $(= $value:expr)?)* $(,)?) => {
        $crate::language::tf($english, &[$((stringify!($name), $crate::language::value!($name $(= $value)?))),*])
    };
}

/// The value of a name in [`tf!`].
macro_rules! value {
    ($name:ident) => {
        &$name as &dyn ::std::fmt::Display
    };
    ($name:tt = $value:expr) => {
        &$value as &dyn ::std::fmt::Display
    };
}

/// A text of a table; [`t`] translates it where it is shown.
macro_rules! later {
    ($english:literal) => {
        $english
    };
}

pub(crate) use {later, t, tf, value};
