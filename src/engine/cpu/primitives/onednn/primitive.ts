/** The functions of oneDNN that we call, and a primitive with its arguments. */
import { RuntimeError } from '../../../contract/runtime.ts'
import { addressOf } from '../../../native/ffi.ts'
import type { Runnable } from '../primitives.ts'

export const OK = 0

export class Primitive implements Runnable {
  used = 0
  private readonly api: Api
  private readonly execute: (primitive: number, stream: number, count: number, args: number) => number
  private readonly move: (memory: number, address: number) => number
  private readonly primitive: number
  private readonly stream: number
  private readonly memories: readonly number[]
  private readonly last: number[]
  private readonly args: BigUint64Array
  private readonly argsAddress: number

  constructor(
    api: Api,
    stream: number,
    primitive: number,
    memories: readonly (readonly [name: number, memory: number])[],
  ) {
    this.api = api
    this.execute = api.dnnl_primitive_execute
    this.move = api.dnnl_memory_set_data_handle
    this.primitive = primitive
    this.stream = stream
    this.memories = memories.map(([, memory]) => memory)
    this.last = memories.map(() => -1)
    this.args = new BigUint64Array(memories.flatMap((pair) => pair.map(BigInt)))
    this.argsAddress = Number(addressOf(this.args))
  }

  destroy(): void {
    this.api.dnnl_primitive_destroy(this.primitive)
    for (const memory of this.memories) this.api.dnnl_memory_destroy(memory)
  }

  run(...addresses: number[]): void {
    for (let i = 0; i < addresses.length; i++) {
      const address = addresses[i] as number
      if (this.last[i] === address) continue
      this.move(this.memories[i] as number, address)
      this.last[i] = address
    }
    const status = this.execute(this.primitive, this.stream, this.memories.length, this.argsAddress)
    if (status !== OK) throw new RuntimeError(`oneDNN failed to run a primitive (status ${status})`)
  }
}

const pointer = 'uintptr_t'
export const signatures = {
  dnnl_engine_create: [pointer, 'int', 'size_t'],
  dnnl_stream_create: [pointer, pointer, 'uint32'],
  dnnl_memory_desc_create_with_strides: [pointer, 'int', pointer, 'int', pointer],
  dnnl_memory_desc_create_with_tag: [pointer, 'int', pointer, 'int', 'int'],
  dnnl_memory_create: [pointer, pointer, pointer, pointer],
  dnnl_memory_set_data_handle: [pointer, pointer],
  dnnl_primitive_create: [pointer, pointer],
  dnnl_primitive_desc_destroy: [pointer],
  dnnl_primitive_destroy: [pointer],
  dnnl_memory_destroy: [pointer],
  dnnl_primitive_execute: [pointer, pointer, 'int', pointer],
  dnnl_primitive_attr_create: [pointer],
  dnnl_primitive_attr_destroy: [pointer],
  dnnl_primitive_attr_set_fpmath_mode: [pointer, 'int'],
  dnnl_primitive_attr_set_post_ops: [pointer, pointer],
  dnnl_post_ops_create: [pointer],
  dnnl_post_ops_destroy: [pointer],
  dnnl_post_ops_append_sum: [pointer, 'float', 'int32', 'int'],
  dnnl_post_ops_append_eltwise: [pointer, 'int', 'float', 'float'],
  dnnl_post_ops_append_binary: [pointer, 'int', pointer],
  dnnl_matmul_primitive_desc_create: [pointer, pointer, pointer, pointer, pointer, pointer, pointer],
  dnnl_eltwise_forward_primitive_desc_create: [
    pointer,
    pointer,
    'int',
    'int',
    pointer,
    pointer,
    'float',
    'float',
    pointer,
  ],
  dnnl_eltwise_backward_primitive_desc_create: [
    pointer,
    pointer,
    'int',
    pointer,
    pointer,
    pointer,
    'float',
    'float',
    pointer,
    pointer,
  ],
  dnnl_softmax_forward_primitive_desc_create: [pointer, pointer, 'int', 'int', pointer, pointer, 'int', pointer],
  dnnl_reorder_primitive_desc_create: [pointer, pointer, pointer, pointer, pointer, pointer],
  dnnl_binary_primitive_desc_create: [pointer, pointer, 'int', pointer, pointer, pointer, pointer],
} as const

export type Api = Readonly<Record<keyof typeof signatures, (...args: number[]) => number>>
