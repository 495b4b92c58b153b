//! Which word a misspelt one was meant to be.

/// The known word nearest to `word`, when it is near enough to be a slip of the fingers.
pub(super) fn similar<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(word, known), *known)).min()?;
    (near.0 <= 2 && near.0 < word.len()).then_some(near.1)
}

/// How many letters to insert, delete, replace or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let nearest = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { nearest.min(table[i - 2][j - 2] + 1) } else { nearest }
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["command", "query", "name", "names"];
        assert_eq!(similar("comand", &known), Some("command"));
        assert_eq!(similar("qeury", &known), Some("query"));
        assert_eq!(similar("event", &known), None);
        assert_eq!(similar("x", &["yz"]), None);
        assert_eq!(distance("verison", "version"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
