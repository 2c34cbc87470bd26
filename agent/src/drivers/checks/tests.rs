//! Tests of the checkers as a whole: real sockets, processes and programs.
