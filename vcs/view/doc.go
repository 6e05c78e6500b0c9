// Package view makes safetensors files of weights files of other kinds, on read. A Plan is what the file is, from the tensor
// table of a manifest alone: its header, its size, and where in the original each byte comes from. A File reads it: ranges of
// tensors that lie in the original as they shall be are read as they are, strided ones are gathered, and the blocks of GGUF are
// dequantised to float32. Nothing is stored, and memory is bounded whatever the size of a tensor.
//
// Order. Elements of 8 bytes come first, then of 4, 2 and 1, so that every tensor is aligned; those of one width come in the order of the original,
// so that reading the view from begin to end reads the original so.
//
// Names. Each name of the table is a tensor of the view: names that share their bytes (tied weights) have a copy each, which costs
// nothing, as nothing is stored. safetensors.torch.save_model would keep one of them: then load_file gives less than torch.load, and a strict
// load_state_dict of it fails. transformers ties by itself what is tied in the model, whether the file has both or one; load_model does too, but
// wants strict=False for both.
// A name that occurs twice gets "#2", "#3" and so on.
//
// Metadata is {"format": "pt"}, which transformers wants, and
//
//	coral.format       the kind of file that the original is, a name of delta/format
//	coral.tied         JSON: name → the name that has the very same bytes, of tied tensors
//	coral.dequantized  JSON: name → block kind, of tensors that were quantised
//	coral.omitted      JSON: name → element kind, of tensors that safetensors has no dtype for, and that are left out
//	coral.quantized    JSON: name → {"scheme", "scale", "zero_point"} or {"scheme", "axis"}, of torch's quantised tensors: (integer − zero_point) × scale
//	coral.values       JSON: name → number, text, truth value, null, or a list of these, of what a pickle holds beside tensors
//	coral.values_left_out  how many of these are not there, as there are too many
//
// Names of files in a view are the business of names.go.
package view
