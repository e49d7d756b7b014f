/** Tests of the search for MPI. Each case runs in its own process, because libraries stay loaded and variables set. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Family } from './library.ts'
import { families, launchers } from './testing/launch.ts'
import type { Launcher } from './world.ts'

const built = new URL('../../../../dist/engine/world/mpi/library.js', import.meta.url).href

interface Search {
  readonly launcher: Launcher
  readonly given?: string
  readonly env?: Record<string, string>
  /** Code before the search. */
  readonly before?: string
}

interface Found {
  readonly path?: string
  readonly family?: Family
  readonly name?: string
  readonly message?: string
  /** Variables as native code sees them. */
  readonly native: readonly (string | null)[]
}

async function find({ launcher, given, env = {}, before = '' }: Search): Promise<Found> {
  const code = `
    import koffi from ${JSON.stringify(import.meta.resolve('koffi'))}
    import { findMpi } from ${JSON.stringify(built)}
    ${before}
    let result
    try { result = findMpi(${JSON.stringify(launcher)}, ${JSON.stringify(given)}) }
    catch ({ name, message }) { result = { name, message } }
    const getenv = koffi.load(null).func('getenv', 'str', ['str'])
    const native = ['UCX_MEM_EVENTS', 'UCX_HANDLE_ERRORS', 'OMPI_MCA_btl_tcp_flags'].map((name) => getenv(name))
    console.log(JSON.stringify({ ...result, native }))`
  const {
    CHOIR_MPI: _,
    UCX_MEM_EVENTS: __,
    UCX_HANDLE_ERRORS: ___,
    OMPI_MCA_btl_tcp_flags: ____,
    ...inherited
  } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...inherited, ...env },
  })
  return JSON.parse(stdout) as Found
}

const soname = { 'Open MPI': 'libmpi.so.40', MPICH: 'libmpich.so.12' } as const

describe.each(families)('%s', (family) => {
  const other = family === 'MPICH' ? 'Open MPI' : 'MPICH'
  const installed = launchers.has(family) && process.platform === 'linux'
  const when = installed ? '' : ` (${family} is not installed)`

  test.skipIf(!installed)(`is found by name, and recognised by its symbols${when}`, async () => {
    expect(await find({ launcher: family })).toMatchObject({ path: soname[family], family })
    expect(await find({ launcher: 'Slurm', given: soname[family] })).toMatchObject({ family })
    expect(await find({ launcher: family, env: { CHOIR_MPI: soname[family] } })).toMatchObject({ family })
  })

  test.skipIf(!installed)(`is refused under the launcher of ${other}${when}`, async () => {
    const { name, message } = await find({ launcher: other, env: { CHOIR_MPI: soname[family] } })
    expect(name).toBe('UsageError')
    expect(message).toBe(
      `invalid CHOIR_MPI: ${soname[family]} is of ${family}, but the mpirun of ${other} started this process ` +
        `(expected the path or name of a libmpi of ${other}, or start with the mpirun of ${family})`,
    )
  })

  test('is reported with the way to install it if it is missing', async () => {
    // The search takes this system for one whose names of the library no loader here can find.
    const before = `Object.defineProperty(process, 'platform', { value: 'darwin' })`
    const { name, message } = await find({ launcher: family, before })
    expect(name).toBe('UsageError')
    expect(message).toMatch(`this process was started by the mpirun of ${family}, but there is no library of ${family}`)
    expect(message).toContain('.dylib')
    expect(message).toContain(`apt-get install ${family === 'MPICH' ? 'mpich' : 'openmpi-bin'}`)
    expect(message).toContain('CHOIR_MPI')
  })
})

test('a file that is no MPI library is refused by its name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'choir-mpi-'))
  try {
    const text = join(folder, 'libmpi.so')
    writeFileSync(text, 'no library')
    for (const given of [text, join(folder, 'absent.so')]) {
      const { name, message } = await find({ launcher: 'MPICH', given })
      expect(name).toBe('UsageError')
      expect(message).toMatch(`invalid CHOIR_MPI: ${given} cannot be loaded`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  if (process.platform !== 'linux') return
  const { message } = await find({ launcher: 'Slurm', given: 'libm.so.6' })
  expect(message).toBe(
    'invalid CHOIR_MPI: libm.so.6 is not an MPI library (expected the path or name of a libmpi of Open MPI or MPICH)',
  )
})

test('settings of networks are made before a library is loaded, unless the user has made them', async () => {
  const search = { launcher: 'MPICH', given: '/absent' } as const
  const flags = 'send,inplace,need-ack,need-csum'
  expect((await find(search)).native).toEqual(['n', 'none', flags])
  expect((await find({ ...search, env: { UCX_MEM_EVENTS: 'y' } })).native).toEqual(['y', 'none', flags])
  expect((await find({ ...search, env: { OMPI_MCA_btl_tcp_flags: 'put' } })).native).toEqual(['n', 'none', 'put'])
})
