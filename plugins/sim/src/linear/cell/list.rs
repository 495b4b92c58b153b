//! Operations in an order, from which they are taken, and put back in reverse order.

/// The head of every list. What is in it is numbered from 1.
pub(super) const HEAD: usize = 0;

pub(super) struct List {
    pub(super) next: Vec<usize>,
    previous: Vec<usize>,
}

impl List {
    /// These, all of the numbers below how many they are, in this order; the head is the first.
    pub(super) fn of(order: impl IntoIterator<Item = usize>) -> Self {
        let order: Vec<usize> = order.into_iter().collect();
        let (mut next, mut previous) = (vec![HEAD; order.len()], vec![HEAD; order.len()]);
        for pair in order.windows(2) {
            next[pair[0]] = pair[1];
            previous[pair[1]] = pair[0];
        }
        previous[HEAD] = order[order.len() - 1];
        Self { next, previous }
    }

    pub(super) fn unlink(&mut self, op: usize) {
        let (previous, next) = (self.previous[op], self.next[op]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    pub(super) fn link(&mut self, op: usize) {
        let (previous, next) = (self.previous[op], self.next[op]);
        self.next[previous] = op;
        self.previous[next] = op;
    }
}
