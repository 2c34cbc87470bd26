//! A trouble that repeats is told when it begins and when it changes, not each time it is met.

/// What was told last, while the trouble lasts.
#[derive(Debug, Default)]
pub struct Complaint {
    told: Option<String>,
}

impl Complaint {
    /// The trouble is met (again); whether this is news.
    pub fn is_new(&mut self, trouble: &impl std::fmt::Display) -> bool {
        let trouble = trouble.to_string();
        let new = self.told.as_ref() != Some(&trouble);
        self.told = Some(trouble);
        new
    }

    /// It went well; whether that is news.
    pub fn is_over(&mut self) -> bool {
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Complaint;

    #[test]
    fn a_trouble_is_news_when_it_begins_when_it_changes_and_when_it_is_over() {
        let mut complaint = Complaint::default();
        assert!(!complaint.is_over());
        assert!(complaint.is_new(&"too many open files") && !complaint.is_new(&"too many open files"));
        assert!(complaint.is_new(&"out of memory"));
        assert!(complaint.is_over() && !complaint.is_over());
        assert!(complaint.is_new(&"out of memory"));
    }
}
