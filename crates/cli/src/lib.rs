//! farthing-cli
