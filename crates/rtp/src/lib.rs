//! RTP, RTCP, telephone-events and reception statistics.
