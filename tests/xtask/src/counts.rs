//! Counts tests by the lines that test programs print.

/// How many tests ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Ignored (in a ring none should be).
    pub ignored: u64,
}

impl Counts {
    /// Adds what `line` says, if it is a test program's last line
    /// (`test result: ok. 12 passed; 0 failed; 0 ignored; …`).
    pub fn add_line(&mut self, line: &str) {
        let Some((_, rest)) = line.trim().split_once("test result: ") else {
            return;
        };
        let rest = rest.split_once(". ").map_or("", |(_, rest)| rest);
        for part in rest.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Adds other counts.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_others_are_not() {
        let mut counts = Counts::default();
        counts.add_line("running 3 tests");
        counts
            .add_line("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        counts.add_line(
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        );
        assert_eq!(counts, Counts { passed: 14, failed: 4, ignored: 1 });
    }
}
