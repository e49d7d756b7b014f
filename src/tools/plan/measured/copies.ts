/**
 * Reads the bandwidths of copies from the output of nvbandwidth (https://github.com/NVIDIA/nvbandwidth at 66746a3, 0.8):
 * its text, or its JSON (`-j`). A file may be the log of a job, with other lines and tests that are not used here.
 *
 * A test prints a matrix in GB/s: a row for the host with a column for each device, or a row and a column for each
 * device. Pairs that were not measured, such as a device with itself, are `N/A`, or 0 in older versions.
 */
import { UsageError } from '../../../core/errors.ts'
import { untagged } from './log-lines.ts'

/** `all` are copies between the host and all devices at once; the other copies were measured one by one. */
export type CopyKind = 'to host' | 'from host' | 'all to host' | 'host to all' | 'between devices'

export interface MeasuredCopies {
  readonly file: string
  readonly kind: CopyKind
  /** Whether the copy engine copied; otherwise a kernel did. */
  readonly byEngine: boolean
  readonly devices: number
  /** Bandwidths of all measured pairs. */
  readonly bytesPerSecond: readonly number[]
}

/** Tests by their names without `_ce` (copy engine) or `_sm` (kernel). */
const tests: Readonly<Record<string, CopyKind>> = {
  host_to_device_memcpy: 'from host',
  device_to_host_memcpy: 'to host',
  host_to_all_memcpy: 'host to all',
  all_to_host_memcpy: 'all to host',
  device_to_device_memcpy_read: 'between devices',
  device_to_device_memcpy_write: 'between devices',
}

export const hasCopies = (text: string): boolean =>
  /"nvbandwidth"\s*:/.test(text) || /\bmemcpy (CE|SM) .*bandwidth \(GB\/s\)/.test(text)

function refuse(file: string, reason: string): never {
  throw new UsageError(`invalid --measured ${file}: ${reason}`)
}

/** @throws UsageError if a matrix is damaged, or no test is one of those above */
export function readCopies(text: string, file: string): MeasuredCopies[] {
  const lines = text.split(/[\r\n]+/).map(untagged)
  const found = /"nvbandwidth"\s*:/.test(text) ? fromJson(lines.join('\n'), file) : fromText(lines)
  const used = found.flatMap(({ name, rows }): MeasuredCopies[] => {
    const [, base = '', how] = /^(\w+)_(ce|sm)$/.exec(name) ?? []
    const kind = tests[base]
    if (!kind) return []
    const bytesPerSecond = bandwidths(rows, name, file)
    const devices = Math.max(...rows.map(({ length }) => length))
    return bytesPerSecond.length > 0 ? [{ file, kind, byEngine: how === 'ce', devices, bytesPerSecond }] : []
  })
  if (used.length === 0)
    refuse(
      file,
      `it has no bandwidth of ${Object.keys(tests).join(', ')} (of nvbandwidth, each followed by _ce or _sm)`,
    )
  return used
}

interface Matrix {
  readonly name: string
  readonly rows: readonly (readonly string[])[]
}

function bandwidths(rows: Matrix['rows'], name: string, file: string): number[] {
  const columns = rows[0]?.length ?? 0
  return rows.flatMap((row, at) => {
    if (row.length !== columns) refuse(file, `row ${at} of ${name} has ${row.length} of ${columns} columns`)
    return row.flatMap((cell) => {
      if (cell === 'N/A') return []
      const value = /^[\d.]+(e[-+]?\d+)?$/i.test(cell) ? Number(cell) : Number.NaN
      if (Number.isNaN(value)) refuse(file, `row ${at} of ${name}: ${cell} (expected a bandwidth in GB/s, or N/A)`)
      return value > 0 ? [value * 1e9] : []
    })
  })
}

function fromText(lines: readonly string[]): Matrix[] {
  const found: (Matrix & { readonly rows: string[][] })[] = []
  let name = ''
  let isInside = false
  for (const line of lines) {
    const running = /^Running (\w+)\.$/.exec(line)
    if (running) [name, isInside] = [running[1] ?? '', false]
    else if (/^memcpy (CE|SM) .*bandwidth \(GB\/s\)$/.test(line)) {
      isInside = true
      found.push({ name, rows: [] })
    } else if (/^(SUM|&&&& PERF) /.test(line)) isInside = false
    // The head of the columns has whole numbers only; a row has the number of a device, and bandwidths.
    else if (isInside && /^\d/.test(line) && !/^\d+(\s+\d+)*$/.test(line))
      found.at(-1)?.rows.push(line.split(/\s+/).slice(1))
  }
  return found
}

/** @param text JSON, perhaps after lines of a job */
function fromJson(text: string, file: string): Matrix[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1))
  } catch {
    refuse(file, 'the JSON of nvbandwidth is not whole')
  }
  const { nvbandwidth } = parsed as { nvbandwidth?: { testcases?: unknown; error?: unknown } }
  const cases = nvbandwidth?.testcases
  if (!Array.isArray(cases))
    refuse(file, `nvbandwidth ran no test${nvbandwidth?.error === undefined ? '' : `: ${nvbandwidth.error}`}`)
  return cases.flatMap((each: { name?: unknown; bandwidth_matrix?: unknown } | null): Matrix[] => {
    const rows = each?.bandwidth_matrix
    if (!Array.isArray(rows)) return []
    return [{ name: String(each?.name), rows: rows.map((row) => (Array.isArray(row) ? row.map(String) : [])) }]
  })
}
