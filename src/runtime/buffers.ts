/** Checks the arrays that a program is bound to, so that no engine reads or writes outside them. */
import type { Port } from '../graph/model.ts'
import { type Buffer, RuntimeError, typedArrays } from './contract.ts'

/** @throws RuntimeError naming the port if it has no array or one of another type or length, or is unknown. */
export function checkBuffers(ports: readonly Port[], buffers: Readonly<Record<string, Buffer>>): void {
  const known = new Set(ports.map((port) => port.name))
  for (const name of Object.keys(buffers))
    if (!known.has(name))
      throw new RuntimeError(`unknown port: ${name} (the program has ${[...known].join(', ') || 'no ports'})`)
  for (const port of ports) {
    const buffer = Object.hasOwn(buffers, port.name) ? buffers[port.name] : undefined
    const TypedArray = typedArrays[port.dtype]
    const length = port.shape.reduce((product, dimension) => product * dimension, 1)
    const expected = `${TypedArray.name} of ${length} for ${port.dtype}[${port.shape.join(', ')}]`
    if (buffer === undefined) throw new RuntimeError(`missing port: ${port.name} (expected a ${expected})`)
    if (!(buffer instanceof TypedArray) || buffer.length !== length)
      throw new RuntimeError(
        `invalid array for port ${port.name}: ${buffer.constructor.name} of ${buffer.length} (expected a ${expected})`,
      )
  }
}
