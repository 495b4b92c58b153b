//! The consensus library's own store suite, over files.

use quorate_redb::RedbStorage;

#[test]
fn the_suite_passes_over_redb() {
    quorate::testing::engine_suite(|| async {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let storage = RedbStorage::builder(dir.path())
            .preallocate_bytes(1 << 20)
            .ballast_bytes(1 << 20)
            .open()
            .expect("a fresh directory");
        (dir, storage)
    });
}
