/** Checks the arrays that a program is bound to: whatever could make an engine read outside of one is refused here. */
import type { Port } from '../graph/model.ts'
import { type Buffer, RuntimeError, typedArrays } from './contract.ts'

/** @throws RuntimeError naming the port when a port has no array, or an array no port or a wrong one. */
export function checkBuffers(ports: readonly Port[], buffers: Readonly<Record<string, Buffer>>): void {
  const known = new Set(ports.map((port) => port.name))
  for (const name of Object.keys(buffers))
    if (!known.has(name))
      throw new RuntimeError(`unknown port: ${name} (the program has ${[...known].join(', ') || 'no ports'})`)
  for (const port of ports) {
    const buffer = Object.hasOwn(buffers, port.name) ? buffers[port.name] : undefined
    const TypedArray = typedArrays[port.dtype]
    const length = port.shape.reduce((product, dimension) => product * dimension, 1)
    const wanted = `${TypedArray.name} of ${length} for ${port.dtype}[${port.shape.join(', ')}]`
    if (buffer === undefined) throw new RuntimeError(`missing port: ${port.name} (expected a ${wanted})`)
    if (!(buffer instanceof TypedArray) || buffer.length !== length)
      throw new RuntimeError(
        `invalid array for port ${port.name}: ${buffer.constructor.name} of ${buffer.length} (expected a ${wanted})`,
      )
  }
}
