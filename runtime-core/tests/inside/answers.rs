//! What the auditor has answered.

use std::collections::BTreeMap;

/// Every question with its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(BTreeMap<String, String>);

impl Answers {
    /// From the auditor's output.
    pub(crate) fn parse(output: &str) -> Self {
        let answers = output.split('\u{1e}').skip(1).filter_map(|part| part.split_once('\n'));
        Self(answers.map(|(question, answer)| (question.to_owned(), trim(answer))).collect())
    }

    /// The answer to a question that was asked.
    #[track_caller]
    pub(crate) fn get(&self, question: &str) -> &str {
        self.0.get(question).unwrap_or_else(|| panic!("no answer to {question:?}: {self:?}"))
    }
}

/// Without the newline that ends an answer.
fn trim(answer: &str) -> String {
    answer.strip_suffix('\n').unwrap_or(answer).to_owned()
}

/// The errno of an answer that is an error, or ends in one.
pub(crate) fn errno(answer: &str) -> Option<i32> {
    answer.rsplit_once('!').and_then(|(_, number)| number.parse().ok())
}
