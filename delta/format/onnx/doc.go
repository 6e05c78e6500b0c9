// Package onnx cuts ONNX models (onnx.proto of github.com/onnx/onnx, IR versions 1 to 13 and whatever follows that keeps their fields).
//
// A model is one protobuf message, which is walked field by field; of what is inside tensors only the lengths are read. Payloads are raw_data,
// and float_data and double_data where packed, as they are little-endian elements too; int32_data and int64_data are varints and stay literal.
// Tensors are looked for wherever a model has them: initializers and sparse initializers, attributes of nodes (constants), the graphs inside
// attributes (If, Loop, Scan), functions, and graphs for training.
//
// Names. An initializer has its own; a Constant node's tensor that of the node's output; another attribute's
// "<node>.<attribute>", where a node without a name goes by its first output. Inside a subgraph all of this follows "<node>.<attribute>.", inside a
// function "<function>.".
//
// Tensors with external data lie in another file, which says nothing itself: ParseData cuts it by the model.
package onnx
