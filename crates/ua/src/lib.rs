//! SIP transactions, dialogs and INVITE usages, without I/O.
