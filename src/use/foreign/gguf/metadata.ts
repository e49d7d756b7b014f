/** Typed access to the metadata of a GGUF file. It remembers which keys were read, so that unknown ones can be named. */
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { isFloat32 } from '../../../core/model/config/limits.ts'
import type { GgufValue } from './header.ts'

export class Metadata {
  private readonly read = new Set<string>()
  private readonly path: string
  private readonly values: ReadonlyMap<string, GgufValue>

  constructor(path: string, values: ReadonlyMap<string, GgufValue>) {
    this.path = path
    this.values = values
  }

  /** A positive integer. @param fallback Value of an absent key; without it the key is needed. */
  count(key: string, fallback?: number): number {
    return this.get(
      key,
      fallback,
      'a positive integer',
      (value) => Number.isSafeInteger(value) && (value as number) > 0,
    )
  }

  /** An integer of at least 0; undefined if the key is absent. */
  id(key: string): number | undefined {
    if (!this.values.has(key)) return undefined
    return this.get<number>(key, undefined, 'an id', (value) => Number.isSafeInteger(value) && (value as number) >= 0)
  }

  /** An integer of at least 0. */
  natural(key: string, fallback: number): number {
    return this.id(key) ?? fallback
  }

  /** A positive number of float32. */
  float(key: string, fallback?: number): number {
    return this.get(key, fallback, 'a positive number', (value) => typeof value === 'number' && isFloat32(value))
  }

  text(key: string, fallback?: string): string {
    return this.get(key, fallback, 'a text', (value) => typeof value === 'string')
  }

  flag(key: string, fallback: boolean): boolean {
    return this.get(key, fallback, 'true or false', (value) => typeof value === 'boolean')
  }

  texts(key: string, fallback?: readonly string[]): readonly string[] {
    return this.get(
      key,
      fallback,
      'a list of texts',
      (value) => Array.isArray(value) && value.every((each) => typeof each === 'string'),
    )
  }

  numbers(key: string, fallback?: readonly number[]): readonly number[] {
    return this.get(
      key,
      fallback,
      'a list of numbers',
      (value) => Array.isArray(value) && value.every((each) => typeof each === 'number'),
    )
  }

  has(key: string): boolean {
    return this.values.has(key)
  }

  /** Keys that begin with `prefix` and were not read. */
  unread(prefix: string): string[] {
    return [...this.values.keys()].filter((key) => key.startsWith(prefix) && !this.read.has(key))
  }

  /** Refuses the value of a key. @throws UsageError always */
  refuse(key: string, value: unknown, supported: string): never {
    throw new UsageError(`${this.path}: unsupported ${key}: ${formatValue(value)} (supported: ${supported})`)
  }

  private get<T extends GgufValue>(
    key: string,
    fallback: T | undefined,
    expected: string,
    accepts: (value: GgufValue) => boolean,
  ): T {
    this.read.add(key)
    const value = this.values.get(key) ?? fallback
    if (value === undefined) throw new UsageError(`${this.path} lacks ${key} in its metadata (expected ${expected})`)
    if (!accepts(value))
      throw new UsageError(`${this.path}: invalid ${key}: ${formatValue(value)} (expected ${expected})`)
    return value as T
  }
}
