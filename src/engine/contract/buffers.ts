/** Checks the memory that a program is bound to, so that no engine reads or writes outside it. */
import type { DType, Port } from '../../core/graph/model.ts'
import { type ArenaRange, floatsOf } from './arena.ts'
import { type Buffer, type PortMemory, RuntimeError, typedArrays } from './runtime.ts'

/** Whether the memory of a port is a range of an arena. */
const isRange = (memory: PortMemory): memory is ArenaRange => 'arena' in memory

const inArenas: ReadonlySet<DType> = new Set(['float32', 'int32'])

/** @throws RuntimeError naming the port if it has no memory, or memory of another type or length, or is unknown. */
export function checkBuffers(ports: readonly Port[], memory: Readonly<Record<string, PortMemory>>): void {
  const known = new Set(ports.map((port) => port.name))
  for (const name of Object.keys(memory))
    if (!known.has(name))
      throw new RuntimeError(`unknown port: ${name} (the program has ${[...known].join(', ') || 'no ports'})`)
  for (const port of ports) {
    const given = Object.hasOwn(memory, port.name) ? memory[port.name] : undefined
    const TypedArray = typedArrays[port.dtype]
    const length = port.shape.reduce((product, dimension) => product * dimension, 1)
    const expected = `${TypedArray.name} of ${length} for ${port.dtype}[${port.shape.join(', ')}]`
    if (given === undefined) throw new RuntimeError(`missing port: ${port.name} (expected a ${expected})`)
    if (isRange(given)) checkRange(port, given, length, expected)
    else if (!(given instanceof TypedArray) || given.length !== length)
      throw new RuntimeError(
        `invalid array for port ${port.name}: ${given.constructor.name} of ${given.length} (expected a ${expected})`,
      )
  }
}

function checkRange(
  { name, dtype }: Port,
  { arena, start, count }: ArenaRange,
  length: number,
  expected: string,
): void {
  if (!inArenas.has(dtype) || count !== length)
    throw new RuntimeError(`invalid range for port ${name}: ${count} numbers of 4 bytes (expected a ${expected})`)
  if (!(start >= 0 && (start + count) * 4 <= arena.byteLength))
    throw new RuntimeError(
      `invalid range for port ${name}: ${count} numbers from ${start} (expected them inside an arena of ` +
        `${arena.byteLength} bytes)`,
    )
}

/** The memory of all ports as arrays of this process; ranges become views. Call {@link checkBuffers} before. */
export function arraysOf(
  ports: readonly Port[],
  memory: Readonly<Record<string, PortMemory>>,
): Readonly<Record<string, Buffer>> {
  return Object.fromEntries(
    ports.map(({ name, dtype }) => {
      const given = memory[name] as PortMemory
      if (!isRange(given)) return [name, given]
      const floats = floatsOf(given)
      return [name, dtype === 'float32' ? floats : new Int32Array(floats.buffer, floats.byteOffset, floats.length)]
    }),
  )
}
