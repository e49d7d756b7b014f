/**
 * The messages of onnx.proto that tests read and write. They go through a library of Protocol Buffers, so that our
 * coder is not tested with itself.
 */
import protobuf from 'protobufjs'

const { root } = protobuf.parse(
  `syntax = "proto2";
  message StringStringEntryProto { optional string key = 1; optional string value = 2; }
  message AttributeProto {
    optional string name = 1; optional float f = 2; optional int64 i = 3; optional bytes s = 4;
    repeated int64 ints = 8; optional int32 type = 20;
  }
  message TensorShapeProto {
    message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
    repeated Dimension dim = 1;
  }
  message TypeProto {
    message Tensor { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
    oneof value { Tensor tensor_type = 1; }
  }
  message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
  message NodeProto {
    repeated string input = 1; repeated string output = 2; optional string name = 3; optional string op_type = 4;
    repeated AttributeProto attribute = 5; optional string domain = 7;
  }
  message TensorProto {
    repeated int64 dims = 1; optional int32 data_type = 2; optional string name = 8; optional bytes raw_data = 9;
    repeated StringStringEntryProto external_data = 13; optional int32 data_location = 14;
  }
  message GraphProto {
    repeated NodeProto node = 1; optional string name = 2; repeated TensorProto initializer = 5;
    repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12;
  }
  message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
  message ModelProto {
    optional int64 ir_version = 1; optional string producer_name = 2; optional GraphProto graph = 7;
    repeated OperatorSetIdProto opset_import = 8; repeated StringStringEntryProto metadata_props = 14;
  }`,
)
const modelProto = root.lookupType('ModelProto')

/** The parts of a decoded model that tests look at; 64-bit integers are numbers. */
export interface DecodedModel {
  readonly graph: {
    readonly node: readonly {
      readonly opType: string
      readonly input: readonly string[]
      readonly output: readonly string[]
      readonly attribute: readonly { readonly name: string; readonly i?: number; readonly ints?: readonly number[] }[]
    }[]
    readonly initializer: readonly {
      readonly name: string
      readonly dataType: number
      readonly dims: readonly number[]
      readonly rawData: Uint8Array
    }[]
    readonly input: readonly { readonly name: string; readonly type: object }[]
    readonly output: readonly { readonly name: string; readonly type: object }[]
  }
}

export const decodeOnnx = (bytes: Uint8Array): DecodedModel =>
  modelProto.toObject(modelProto.decode(bytes), { longs: Number, arrays: true }) as DecodedModel

/** @param model Fields by their names in onnx.proto, in camel case. */
export const encodeWithSchema = (model: object): Uint8Array => modelProto.encode(modelProto.fromObject(model)).finish()
