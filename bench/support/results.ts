/**
 * Stored results: JSON files in docs/results/, written after each measurement, so that an interrupted run loses
 * nothing. Results of the shape `tiny` go to bench/results/, which git ignores.
 *
 * A file holds results of one machine and one number of threads. Results of another machine or number of threads
 * replace the whole file.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RunError } from '../../src/core/errors.ts'
import { describeProcessor } from '../../src/node/system/processor.ts'

export interface Machine {
  readonly cpu: string
  readonly logicalCores: number
  readonly memoryGiB: number
  readonly platform: string
  readonly node: string
  /** Number of threads; absent if it differs from row to row. */
  readonly threads?: number
}

export function thisMachine(threads?: number): Machine {
  return {
    cpu: describeProcessor(),
    logicalCores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    ...(threads !== undefined && { threads }),
  }
}

/** Today's date, `2026-01-31`. */
export const today = (): string => new Date().toISOString().slice(0, 10)

/** The absolute path of a file in this repository. */
export const fileIn = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The path of the JSON file of results such as `pytorch-S-float32`; in bench/results/ if `tiny`. */
export function resultFile(name: string, tiny = false): string {
  return fileIn(`${tiny ? 'bench' : 'docs'}/results/${name}.json`)
}

/** The path relative to the current folder. */
export const shownPath = (file: string): string => relative(process.cwd(), file) || file

/** Returns undefined if the file does not exist. @throws RunError if it is not JSON. */
export async function readJson<T>(file: string): Promise<T | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return JSON.parse(text) as T
  } catch (error) {
    throw new RunError(`cannot read ${shownPath(file)}: ${(error as Error).message} (repair or remove it)`)
  }
}

/** Replaces the file atomically. Writes lists of numbers on one line. */
export async function writeJson(file: string, value: object): Promise<void> {
  const text = JSON.stringify(value, null, 2).replace(/\[[\s\d.,eE+\-nul]*\]/g, (list) =>
    list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'),
  )
  await mkdir(dirname(file), { recursive: true })
  await writeFile(`${file}.new`, `${text}\n`)
  await rename(`${file}.new`, file)
}

export interface RowFile<Row> {
  readonly machine: Machine
  readonly rows: readonly Row[]
}

/** A result file with rows; a row replaces an earlier one with the same key. */
export class Results<Row> {
  readonly file: string
  private readonly keyOf: (row: Row) => string
  private readonly machine: Machine
  private list: Row[] = []

  private constructor(file: string, keyOf: (row: Row) => string, machine: Machine) {
    this.file = file
    this.keyOf = keyOf
    this.machine = machine
  }

  static async open<Row>(file: string, keyOf: (row: Row) => string, machine = thisMachine()): Promise<Results<Row>> {
    const results = new Results(file, keyOf, machine)
    const stored = await readJson<RowFile<Row>>(file)
    if (stored && JSON.stringify(stored.machine) === JSON.stringify(results.machine)) results.list = [...stored.rows]
    else if (stored)
      process.stderr.write(
        `  ${shownPath(file)} is of another machine or thread count (${Object.values(stored.machine ?? {}).join(', ')}) and will be overwritten\n`,
      )
    return results
  }

  get rows(): readonly Row[] {
    return this.list
  }

  find(key: string): Row | undefined {
    return this.list.find((row) => this.keyOf(row) === key)
  }

  async put(row: Row): Promise<void> {
    const at = this.list.findIndex((other) => this.keyOf(other) === this.keyOf(row))
    if (at < 0) this.list.push(row)
    else this.list[at] = row
    await writeJson(this.file, { machine: this.machine, rows: this.list })
  }
}
