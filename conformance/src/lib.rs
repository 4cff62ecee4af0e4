//! What other people's code says of hoist's containers. The tests are all there is to it.
