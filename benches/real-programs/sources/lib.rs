//! Holds no code: the manifest beside it names what is downloaded.
