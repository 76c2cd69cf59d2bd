// The table of this instruction set, from the headers included before.
namespace coinr {

const Kernels COINR_TABLE = {
    COINR_ISA,     row_popcount,   row_signs,       spread_signs,         row_parity, dot_i8,   dot_i8_f32,
    dot_i8_i16,    energy,         add_i32,         add_i64,              dot_f64,    axpy_f64, add_feedback,
    tile_popcount, tile_signs,     max_abs,         quantize,             kRows,      screen,   gram,
    subtract,      residual,       pack_signs,      unpack_signs,         gram_signs, subtract_signs,
    project,       basis_row,      round_i16,       words_from_zero,      round_to_int16_lanes,
    sign_masks,    fwht,           fwht_int16, find_survivors, &COINR_MLP_TABLE};

}  // namespace coinr
