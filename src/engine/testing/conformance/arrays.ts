/** Arrays in one arena, for tests that kernels write nothing outside them. */
import { expect } from 'vitest'
import { type Arena, type ArenaRange, changeRange, RANGE_START } from '../../contract/arena.ts'
import type { Runtime } from '../../contract/runtime.ts'

const GUARD = 123

/** Arrays in one arena, padded with zeros, with guards around them that no kernel may touch. */
export class Arrays<Name extends string> {
  readonly arena: Arena
  /** Offsets of the arrays, in floats. */
  readonly at = {} as Record<Name, number>
  private readonly values: Readonly<Record<Name, Float32Array>>

  private constructor(runtime: Runtime, values: Readonly<Record<Name, Float32Array>>) {
    this.values = values
    let end = RANGE_START
    for (const name of this.names) {
      this.at[name] = end
      end += this.paddedLength(name) + RANGE_START
    }
    this.arena = runtime.createArena(4 * end)
  }

  static async place<Name extends string>(runtime: Runtime, values: Readonly<Record<Name, Float32Array>>) {
    const arrays = new Arrays(runtime, values)
    const { arena, at } = arrays
    await changeRange({ arena, start: 0, count: Math.floor(arena.byteLength / 4) }, (all) => {
      all.fill(GUARD)
      for (const name of arrays.names) {
        all.fill(0, at[name], at[name] + arrays.paddedLength(name))
        all.set(values[name], at[name])
      }
    })
    return arrays
  }

  private get names(): Name[] {
    return Object.keys(this.values) as Name[]
  }

  private paddedLength(name: Name): number {
    return Math.ceil(this.values[name].length / RANGE_START) * RANGE_START
  }

  range(name: Name): ArenaRange {
    return { arena: this.arena, start: this.at[name], count: this.values[name].length }
  }

  async read(name: Name): Promise<Float32Array> {
    return (await this.arena.read(this.at[name], this.values[name].length)).slice()
  }

  /** Checks that nothing but these arrays was written. */
  async expectOnly(...written: readonly Name[]): Promise<void> {
    const all = (await this.arena.read(0, Math.floor(this.arena.byteLength / 4))).slice()
    for (const name of this.names) {
      const part = all.subarray(this.at[name], this.at[name] + this.values[name].length)
      if (!written.includes(name)) expect(part, name).toEqual(this.values[name])
      const padding = all.subarray(this.at[name] + part.length, this.at[name] + this.paddedLength(name))
      expect(padding.every((value) => value === 0)).toBe(true)
      part.fill(GUARD)
      padding.fill(GUARD)
    }
    expect(all.every((value) => value === GUARD)).toBe(true)
  }
}
