/**
 * Reads times of collectives from the output of nccl-tests (and rccl-tests, whose output is the same) and of the OSU
 * micro-benchmarks. A file may be the log of a job: with other lines, line numbers of `srun -l`, and several tests.
 *
 * Each time belongs to a size. nccl-tests print the bytes of the whole buffer of a rank. OSU prints for all-to-alls and
 * all-gathers the bytes for each other rank, which are multiplied by the number of ranks here.
 */
import { listWithOr } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'

/** `bandwidth` is a pair of ranks with many messages under way, whose latency is hidden. */
export type CollectiveKind =
  | 'all-reduce'
  | 'all-gather'
  | 'reduce-scatter'
  | 'all-to-all'
  | 'send-receive'
  | 'bandwidth'

/** `nodes` nodes with `perNode` ranks each. */
export interface Ranks {
  readonly nodes: number
  readonly perNode: number
}

export interface Sample {
  /** Bytes of a rank's buffer: what an all-reduce sums, or what an all-to-all sends, its own part included. */
  readonly bytes: number
  readonly seconds: number
}

export interface MeasuredCollective {
  readonly file: string
  readonly kind: CollectiveKind
  readonly ranks: Ranks
  readonly samples: readonly Sample[]
}

const tests: Readonly<Record<string, CollectiveKind>> = {
  all_reduce_perf: 'all-reduce',
  all_gather_perf: 'all-gather',
  reduce_scatter_perf: 'reduce-scatter',
  alltoall_perf: 'all-to-all',
  sendrecv_perf: 'send-receive',
}

/** Names of OSU's tests as they print them. */
const osuTests: Readonly<Record<string, CollectiveKind>> = {
  Allreduce: 'all-reduce',
  Allgather: 'all-gather',
  Reduce_scatter: 'reduce-scatter',
  'All-to-All Personalized Exchange': 'all-to-all',
  '': 'send-receive',
}

/** A line without the rank that `srun -l` (`0: `) or `mpirun --tag-output` (`[1,0]<stdout>:`) put before it. */
const untagged = (line: string): string => line.replace(/^\s*(\d+:|\[\d+,\d+\]<std\w+>:)/, '').trim()

/** Whether the text looks like the output of nccl-tests or OSU. */
export const hasCollectives = (text: string): boolean => ncclHeader.test(text) || /^.*# OSU MPI/m.test(text)

const ncclHeader = /#\s+size\s+count\s+type\b.*\bbusbw\b/

/**
 * @param given nodes and ranks that the user gave; nccl-tests list theirs, OSU does not
 * @throws UsageError if a test is unknown, its ranks are, a result was wrong, or no time is there
 */
export function readCollectives(text: string, file: string, given: Ranks | null): MeasuredCollective[] {
  const lines = text.split(/[\r\n]+/).map(untagged)
  const found = ncclHeader.test(text) ? ncclTests(lines, file, given) : osu(lines, file, given)
  if (found.every(({ samples }) => samples.length === 0)) refuse(file, 'it has no row with a size and a time')
  return found.filter(({ samples }) => samples.length > 0)
}

function refuse(file: string, reason: string): never {
  throw new UsageError(`invalid --measured ${file}: ${reason}`)
}

/** A number of at least zero, or NaN for any other text such as `N/A`. */
const numberOf = (text: string | undefined): number => (/^[\d.]+(e[-+]?\d+)?$/i.test(text ?? '') ? Number(text) : NaN)

function ncclTests(lines: readonly string[], file: string, given: Ranks | null): MeasuredCollective[] {
  const found: (MeasuredCollective & { readonly samples: Sample[] })[] = []
  let test = testNamed(file)
  let hosts: string[] = []
  let columns: string[] = []
  let current: Sample[] | null = null
  for (const line of lines) {
    const named = testNamed(line)
    if (named) test = named
    if (/# nThread/.test(line) && current) [hosts, current] = [[], null]
    const rank = /Rank\s+(\d+)\s.*\bon\s+(\S+)\s+device\b/.exec(line)
    if (rank) {
      if (hosts[Number(rank[1])] !== undefined)
        refuse(file, `it has rank ${rank[1]} twice: each process measured by itself (build nccl-tests with MPI=1)`)
      hosts[Number(rank[1])] = rank[2] ?? ''
    } else if (ncclHeader.test(line)) {
      columns = line.replace(/^#\s*/, '').split(/\s+/)
      if (!test)
        refuse(
          file,
          `it does not name its test (name the file ${listWithOr(Object.keys(tests).map((name) => `${name}.txt`))})`,
        )
      current = []
      found.push({ file, kind: test, ranks: given ?? ranksOf(hosts, file), samples: current })
    } else if (current && /^\d+\s+\d+\s+[a-z]/i.test(line)) {
      const cells = line.split(/\s+/)
      const time = columns.findIndex((name) => name === 'time' || name === 'cputime')
      const [bytes, micro, wrong] = [cells[0], cells[time], cells[columns.indexOf('#wrong')]].map(numberOf) as [
        number,
        number,
        number,
      ]
      if (columns.includes('#wrong') && wrong > 0) refuse(file, `${cells[0]} bytes have ${wrong} wrong results`)
      if (Number.isNaN(micro))
        refuse(file, `${cells[0]} bytes have no out-of-place time: ${cells[time] ?? 'the row ends'}`)
      if (bytes > 0 && micro > 0) current.push({ bytes, seconds: micro * 1e-6 })
    }
  }
  return found
}

/** The test whose name a line or the name of a file contains. */
const testNamed = (text: string): CollectiveKind | undefined =>
  Object.entries(tests).find(([name]) => text.includes(name))?.[1]

/** Nodes and ranks from the hosts of all ranks. */
function ranksOf(hosts: readonly string[], file: string): Ranks {
  const example = `such as --measured 2x8:${file} for 2 nodes with 8 ranks each`
  if (hosts.length === 0) refuse(file, `it does not list its ranks (give nodes and ranks, ${example})`)
  if (Array.from(hosts).includes(undefined as never))
    refuse(file, `it lists only some of its ${hosts.length} ranks (give nodes and ranks, ${example})`)
  const counts = [...new Set(hosts)].map((host) => hosts.filter((each) => each === host).length)
  if (new Set(counts).size > 1) refuse(file, `its nodes have ${counts.join(' and ')} ranks (measure with equally many)`)
  return { nodes: counts.length, perNode: counts[0] ?? 1 }
}

function osu(lines: readonly string[], file: string, ranks: Ranks | null): MeasuredCollective[] {
  if (!ranks)
    refuse(
      file,
      `OSU does not print its ranks (give them, such as --measured 2x8:${file} for 2 nodes with 8 ranks each)`,
    )
  const found: (MeasuredCollective & { readonly samples: Sample[] })[] = []
  const known = 'osu_allreduce, osu_allgather, osu_reduce_scatter, osu_alltoall, osu_latency and osu_bw can be read'
  for (const line of lines) {
    const title = /^# OSU MPI(?:-\w+)?\s+(.*?)\s*(Latency|Bandwidth) Test\b/.exec(line)
    const last = found.at(-1)
    if (title) {
      const [, name = '', measure] = title
      const kind =
        measure === 'Bandwidth' && name === '' ? 'bandwidth' : measure === 'Latency' ? osuTests[name] : undefined
      if (!kind) refuse(file, `it is the output of OSU's ${name} ${measure} Test (${known})`)
      const all = ranks.nodes * ranks.perNode
      if ((name === '' && all !== 2) || all < 2)
        refuse(file, `${all} ranks (expected ${name === '' ? '' : 'at least '}2)`)
      found.push({ file, kind, ranks, samples: [] })
    } else if (/^# OSU MPI/.test(line)) refuse(file, `it is the output of another test of OSU: ${line} (${known})`)
    else if (last && /^\d+\s+[\d.]+/.test(line)) {
      const [size = NaN, value = NaN] = line.split(/\s+/).map(numberOf)
      const each = last.kind === 'all-to-all' || last.kind === 'all-gather' ? ranks.nodes * ranks.perNode : 1
      const seconds = last.kind === 'bandwidth' ? size / (value * 1e6) : value * 1e-6
      if (size > 0 && seconds > 0) last.samples.push({ bytes: size * each, seconds })
    }
  }
  return found
}
