//! One law into the other by the conversion tables of ITU-T G.711 (Tables 3 and 4), not by way of linear samples.
//!
//! The tables are not what decoding and encoding again gives: several mu-law values lie on A-law decision values, and the
//! Recommendation settles them so that a signal that goes from A-law to mu-law and back keeps bits 1 to 7 of every code word (its
//! Note 3: "mu-80 is converted to to mu-79"). Networks convert by these tables, so doing likewise adds no
//! distortion however often a call is converted.

/// Turns mu-law code words into A-law ones, in place.
pub fn pcmu_to_pcma(codes: &mut [u8]) {
    for code in codes {
        *code = MU_TO_A[usize::from(*code)];
    }
}

/// Turns A-law code words into mu-law ones, in place.
pub fn pcma_to_pcmu(codes: &mut [u8]) {
    for code in codes {
        *code = A_TO_MU[usize::from(*code)];
    }
}

/// Table 3: the number (1 to 128) of the A-law value for the mu-law values 0 to 127.
#[rustfmt::skip]
const A_NUMBER_OF_MU: [u8; 128] = [
      1,   1,   2,   2,   3,   3,   4,   4,   5,   5,   6,   6,   7,   7,   8,   8,
      9,  10,  11,  12,  13,  14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,
     25,  27,  29,  31,  33,  34,  35,  36,  37,  38,  39,  40,  41,  42,  43,  44,
     46,  48,  49,  50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,
     64,  65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,
     81,  82,  83,  84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,  95,  96,
     97,  98,  99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112,
    113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128,
];

/// Table 4: the number (0 to 127) of the mu-law value for the A-law values 1 to 128.
#[rustfmt::skip]
const MU_NUMBER_OF_A: [u8; 128] = [
      1,   3,   5,   7,   9,  11,  13,  15,  16,  17,  18,  19,  20,  21,  22,  23,
     24,  25,  26,  27,  28,  29,  30,  31,  32,  32,  33,  33,  34,  34,  35,  35,
     36,  37,  38,  39,  40,  41,  42,  43,  44,  45,  46,  47,  48,  48,  49,  49,
     50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,  63,  64,  64,
     65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  79,
     80,  81,  82,  83,  84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,  95,
     96,  97,  98,  99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111,
    112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127,
];

static MU_TO_A: [u8; 256] = {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 128 {
        let a = (A_NUMBER_OF_MU[number] - 1) ^ 0x55;
        // The mu-law words are the numbers with all bits inverted, bit 1 set for positive values in both laws.
        table[0xff - number] = a | 0x80;
        table[0x7f - number] = a;
        number += 1;
    }
    table
};

static A_TO_MU: [u8; 256] = {
    let mut table = [0; 256];
    let mut number = 0;
    while number < 128 {
        let mu = 0x7f - MU_NUMBER_OF_A[number];
        let a = number ^ 0x55;
        table[a | 0x80] = mu | 0x80;
        table[a] = mu;
        number += 1;
    }
    table
};
