/**
 * The Python of the peers, and the environment that makes PyTorch fast on a CPU. The environment must be set before the
 * process starts. It has the OpenMP build of OpenBLAS (the threads of the default build compete with PyTorch's, which
 * is three times slower), an allocator that keeps its memory and uses huge pages, and the vector math library that
 * torch.compile needs with Debian's build. README.md has the measurements.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { RunError } from '../../src/core/errors.ts'

const triplets: Partial<Record<NodeJS.Architecture, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }

/** The environment that makes PyTorch fast on a CPU. */
export function peerEnvironment(threads?: number): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }
  // With any of these, OpenBLAS or the OpenMP pool is slower than with its defaults.
  for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_NUM_THREADS', 'OMP_WAIT_POLICY'])
    delete env[name]
  if (threads !== undefined) env.OMP_NUM_THREADS = String(threads)
  if (process.platform !== 'linux') return env
  env.MALLOC_MMAP_THRESHOLD_ = String(2 ** 32)
  env.MALLOC_TRIM_THRESHOLD_ = String(2 ** 34)
  env.GLIBC_TUNABLES = 'glibc.malloc.hugetlb=1'
  const libraries = `/usr/lib/${triplets[process.arch]}`
  const openblas = join(libraries, 'openblas-openmp')
  if (existsSync(openblas)) env.LD_LIBRARY_PATH = [openblas, env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  const vectorMath = join(libraries, 'libsleef.so.3')
  if (existsSync(vectorMath)) env.LD_PRELOAD = [vectorMath, env.LD_PRELOAD].filter(Boolean).join(':')
  return env
}

const pythons = ['/usr/bin/python3', 'python3', 'python']

const withPyTorch = new Set<string>()

/** A Python with PyTorch. @throws RunError with install instructions if there is none. */
export async function findPyTorch(given?: string): Promise<string> {
  const candidates = given === undefined ? pythons : [given]
  for (const python of candidates) {
    if (withPyTorch.has(python)) return python // the check below takes seconds
    if ((await output(python, 'import numpy, torch')) === undefined) continue
    withPyTorch.add(python)
    return python
  }
  throw new RunError(
    `PyTorch was not found (tried ${candidates.join(', ')}). On Debian and Ubuntu: ` +
      'apt-get install python3-torch python3-numpy libopenblas0-openmp; elsewhere: pip install torch numpy',
  )
}

/** Standard output of a Python program; undefined if it fails. */
async function output(python: string, program: string): Promise<string | undefined> {
  try {
    return (await promisify(execFile)(python, ['-c', program], { env: peerEnvironment() })).stdout.trim()
  } catch {
    return undefined
  }
}

/** The Python and the device on which a peer computes. */
export interface PeerDevice {
  /** Python executable; default: the first of the usual ones that has PyTorch. */
  readonly python: string
  /** Default: the CPU. Only the peers that use autograd, and matrix products, can run on a GPU. */
  readonly device: 'cpu' | 'cuda' | 'mps'
}

const findDevice = `import numpy, torch
print('cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else '')`

/** A Python whose PyTorch computes on a GPU. @throws RunError if there is none */
export async function findPeerDevice(): Promise<PeerDevice> {
  for (const python of pythons) {
    const device = await output(python, findDevice)
    if (device === 'cuda' || device === 'mps') return { python, device }
  }
  throw new RunError(`no PyTorch with a GPU was found (tried ${pythons.join(', ')})`)
}
