/**
 * A Slurm cluster of this one machine, for tests. Its daemons munged, slurmctld and slurmd are children of the test,
 * and their files are in a folder of their own. The machine has as many GPUs as cores; they are devices like /dev/null.
 * It needs root and Debian's slurmctld, slurmd, slurm-client and munge.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const programs = ['munged', 'slurmctld', 'slurmd', 'sbatch', 'scontrol', 'squeue']

/** The reason why no cluster can run here; undefined if one can. */
export function missingForSlurm(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root'
  const missing = programs.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  return missing.length > 0 ? `not installed: ${missing.join(', ')}` : undefined
}

export class SlurmCluster {
  /** A folder for scripts and logs. */
  readonly folder: string
  readonly cores = availableParallelism()
  readonly env: NodeJS.ProcessEnv
  private readonly daemons: ChildProcess[] = []

  private constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'choir-slurm-'))
    // munged refuses a socket in a folder that other users cannot enter.
    chmodSync(this.folder, 0o755)
    this.env = { ...process.env, SLURM_CONF: join(this.folder, 'slurm.conf') }
  }

  /** @throws Error if the node is not ready within half a minute */
  static async start(): Promise<SlurmCluster> {
    const cluster = new SlurmCluster()
    try {
      await cluster.startDaemons()
      return cluster
    } catch (error) {
      await cluster.stop()
      throw error
    }
  }

  private async startDaemons(): Promise<void> {
    const { folder, cores } = this
    const file = (name: string) => join(folder, name)
    for (const name of ['state', 'spool']) mkdirSync(file(name))
    writeFileSync(file('munge.key'), randomBytes(1024), { mode: 0o600 })
    for (let i = 0; i < cores; i++) spawnSync('mknod', [file(`gpu${i}`), 'c', '1', '3'])
    const gpus = cores === 1 ? 'gpu0' : `gpu[0-${cores - 1}]`
    writeFileSync(file('gres.conf'), `NodeName=${hostname()} Name=gpu File=${file(gpus)}\n`)
    const [controller, daemon] = [await freePort(), await freePort()]
    const settings = [
      'ClusterName=test',
      `SlurmctldHost=${hostname()}(127.0.0.1)`,
      'SlurmUser=root',
      `SlurmctldPort=${controller}`,
      `SlurmdPort=${daemon}`,
      'AuthType=auth/munge',
      `AuthInfo=socket=${file('munge.sock')}`,
      `StateSaveLocation=${file('state')}`,
      `SlurmdSpoolDir=${file('spool')}`,
      `SlurmctldPidFile=${file('slurmctld.pid')}`,
      `SlurmdPidFile=${file('slurmd.pid')}`,
      `SlurmctldLogFile=${file('slurmctld.log')}`,
      `SlurmdLogFile=${file('slurmd.log')}`,
      'ProctrackType=proctrack/linuxproc',
      'TaskPlugin=task/none',
      'SelectType=select/cons_tres',
      'SelectTypeParameters=CR_Core',
      'GresTypes=gpu',
      'ReturnToService=2',
      'SlurmdParameters=config_overrides',
      `NodeName=${hostname()} NodeAddr=127.0.0.1 CPUs=${cores} Boards=1 SocketsPerBoard=1 CoresPerSocket=${cores} ThreadsPerCore=1 Gres=gpu:${cores}`,
      'PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP',
    ]
    writeFileSync(file('slurm.conf'), `${settings.join('\n')}\n`)
    const munge = [
      'key-file=munge.key',
      'socket=munge.sock',
      'pid-file=munge.pid',
      'log-file=munge.log',
      'seed-file=munge.seed',
    ]
    this.daemon('munged', ['--foreground', ...munge.map((option) => `--${option.replace('=', `=${folder}/`)}`)])
    await this.until(() => this.run('munge', '-n', '-S', file('munge.sock')) !== null)
    this.daemon('slurmctld', ['-D'])
    this.daemon('slurmd', ['-D'])
    await this.until(() => this.run('sinfo', '-h', '-o', '%t')?.trim() === 'idle')
  }

  /** Standard output of a command; null if it fails. */
  run(command: string, ...args: string[]): string | null {
    const { status, stdout } = spawnSync(command, args, { env: this.env, cwd: this.folder, encoding: 'utf8' })
    return status === 0 ? stdout : null
  }

  /** Waits until the condition holds. @throws Error if it does not hold within half a minute */
  async until(holds: () => boolean): Promise<void> {
    for (let i = 0; !holds(); i++) {
      if (i > 150) throw new Error(`Slurm: still not so after 30 s: ${holds}\n${this.run('scontrol', 'show', 'job')}`)
      await delay(200)
    }
  }

  async stop(): Promise<void> {
    // Jobs of a failed test would survive the daemons.
    if (this.daemons.length === 3 && this.run('scancel', '--full', '--signal=KILL', '--user=root') !== null)
      await this.until(() => this.run('squeue', '-h', '-t', 'running,completing')?.trim() === '').catch(() => {})
    for (const daemon of this.daemons.reverse()) {
      if (daemon.exitCode !== null) continue
      const exited = new Promise((resolve) => daemon.once('exit', resolve))
      daemon.kill('SIGTERM')
      await exited
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  private daemon(command: string, args: readonly string[]): void {
    this.daemons.push(spawn(command, args, { env: this.env, stdio: 'ignore' }))
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
