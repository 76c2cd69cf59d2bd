// The table of this instruction set, from the headers included before.
namespace coinr {

const MlpKernels COINR_TABLE = {kLanes, kColumns,        multiply, transpose, activate, differentiate, outer,
                                encode, encode_gradient, sine,     adam,      mix,      scale,         combine,
                                mirror};

}  // namespace coinr
