/**
 * Ranks of a benchmark: `mpirun` starts a program several times, on this machine or on machines in network namespaces
 * (machines/machines.sh), and each process connects to a socket of ours, on which it reads commands and answers them,
 * one line of JSON each. A rank that waits for a command uses no processor, so several worlds can take turns.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { RunError } from '../../../src/core/errors.ts'
import { type MpiLibrary, rootVariables } from '../../../src/tools/launch/mpirun.ts'

export const machinesScript = fileURLToPath(new URL('./machines/machines.sh', import.meta.url))

export interface Place {
  readonly library: MpiLibrary
  /** Bits a second of links between machines, one for each rank; undefined if all ranks are on this machine. */
  readonly rate?: number | undefined
}

export interface WorldOptions extends Place {
  readonly ranks: number
  /** Name in error messages. */
  readonly name: string
  /** The program of a rank; the path of the socket and `args` follow. */
  readonly program: readonly string[]
  readonly args: readonly string[]
  /** False for one process without mpirun. */
  readonly launched?: boolean | undefined
}

/** Ranks may take this long to end. */
const END_MS = 20_000
const LETTERS = 'abcdefghi'

/** On one machine rank i computes on core i, as machine i does. */
const pinned = [
  // Open MPI sets the first of these variables, MPICH the second, and without mpirun neither is set.
  ...[
    'bash',
    '-c',
    'exec taskset -c $(((OMPI_COMM_WORLD_RANK + PMI_RANK) % $(env -u OMP_NUM_THREADS nproc))) "$@"',
    'rank',
  ],
] as const

/** The command line that starts the ranks, to be followed by their program. */
function launcher({ library, rate, ranks, launched = true }: WorldOptions): string[] {
  if (!launched) return [...pinned]
  const hosts = Array.from(LETTERS.slice(0, ranks)).join(',')
  const cluster = rate === undefined ? [] : [machinesScript, '--machines', String(ranks), '--rate', `${rate}bit`]
  // Only transports that the place has are allowed, since MPI would otherwise silently use another one.
  const options =
    library === 'mpich'
      ? [...(rate === undefined ? [] : ['-hosts', hosts]), '-bind-to', 'none']
      : [
          ...(rate === undefined ? ['--oversubscribe'] : ['--host', hosts]),
          ...['--bind-to', 'none', '--mca', 'pml', 'ob1', '--mca', 'btl', rate === undefined ? 'self,sm' : 'self,tcp'],
          ...(rate === undefined ? [] : ['--mca', 'btl_tcp_if_include', 'eth0']),
        ]
  return [...cluster, `mpirun.${library}`, '-n', String(ranks), ...options, ...(rate === undefined ? pinned : [])]
}

export class World {
  private readonly options: WorldOptions
  private readonly child: ChildProcess
  private readonly folder: string
  private readonly ended: Promise<number | null>
  private output = ''
  private connections: { readonly socket: Socket; readonly lines: AsyncIterator<string> }[] = []
  /** The first line of each rank, in the order of ranks. */
  hello: readonly unknown[] = []

  private constructor(options: WorldOptions, child: ChildProcess, folder: string) {
    this.options = options
    this.child = child
    this.folder = folder
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-4000)
      })
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.output += error.message
        resolve(null)
      })
      child.once('close', resolve)
    })
  }

  /** Starts the ranks and waits for the first line of each. @throws RunError with their output if they end */
  static async start(options: WorldOptions): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'choir-bench-'))
    const path = join(folder, 'socket')
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      if (sockets.length === options.ranks) server.emit('all')
    }).listen(path)
    await once(server, 'listening')
    const [command = '', ...words] = [...launcher(options), ...options.program, path, ...options.args]
    const env = { ...process.env, ...rootVariables }
    const world = new World(options, spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env }), folder)
    try {
      await world.unlessEnded(once(server, 'all'))
      const opened = sockets.map((socket) => ({
        socket: socket.on('error', () => {}),
        lines: createInterface({ input: socket })[Symbol.asyncIterator](),
      }))
      const first = await Promise.all(opened.map(({ lines }) => world.line(lines)))
      const order = first.map((line, i) => ({ line, i, rank: (line as { rank: number }).rank }))
      order.sort((a, b) => a.rank - b.rank)
      world.hello = order.map(({ line }) => line)
      world.connections = order.map(({ i }) => opened[i] as (typeof opened)[number])
      return world
    } catch (error) {
      await world.stop()
      throw error
    } finally {
      server.close()
    }
  }

  /** Sends a command to all ranks. @returns Their answers. @throws RunError if a rank fails */
  async ask<Answer>(command: object): Promise<Answer[]> {
    for (const { socket } of this.connections) socket.write(`${JSON.stringify(command)}\n`)
    return (await Promise.all(this.connections.map(({ lines }) => this.line(lines)))) as Answer[]
  }

  /** Ends the ranks, and waits until they and their machines are gone. */
  async stop(): Promise<void> {
    for (const { socket } of this.connections) socket.end()
    if (this.connections.length === 0) this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGTERM'), END_MS)
    await this.ended
    clearTimeout(timer)
    await rm(this.folder, { recursive: true, force: true })
  }

  private async line(lines: AsyncIterator<string>): Promise<unknown> {
    const line = await this.unlessEnded(lines.next())
    if (line.done) return this.unlessEnded(new Promise(() => {}))
    return JSON.parse(line.value)
  }

  private unlessEnded<T>(promise: Promise<T>): Promise<T> {
    const failed = this.ended.then((code): never => {
      throw new RunError(`${this.options.name} ended (exit code ${code}): ${this.output.trim()}`)
    })
    return Promise.race([promise, failed])
  }
}
