//! How a long run tells its caller how far it is.

/// Told about phases and voxels, from several threads.
pub trait Progress: Sync {
    /// A phase of `voxels` voxels begins, `done` of which are already there.
    fn begin(&self, phase: &str, voxels: u64, done: u64);
    /// So many more voxels are done.
    fn advance(&self, voxels: u64);
    /// Something a person should know.
    fn note(&self, text: &str);
    /// The phase is over.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _voxels: u64, _done: u64) {}
    fn advance(&self, _voxels: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self) {}
}
