/**
 * The package as its users get it: packed, installed into the example project from the registry, type-checked and
 * run there. Skipped where the registry cannot be reached.
 *
 * @slow
 */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { entries } from '../../program.vite.config.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const windows = process.platform === 'win32'
const execute = promisify(execFile)

const npm = async (args: readonly string[], cwd: string, timeout = 240_000): Promise<string> =>
  (await execute('npm', args, { cwd, timeout, shell: windows, maxBuffer: 1 << 26 })).stdout

const offline = await npm(['view', 'zod', 'version'], root, 20_000).then(
  () => '',
  (error: Error) => error.message.trim().split('\n').at(-1) ?? 'npm failed',
)
if (offline) console.info(`package: skipped, the npm registry cannot be reached (${offline})`)

const installed = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']

/** Bytes of all files in a folder. */
async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

describe.skipIf(offline)('the package', () => {
  let folder: string
  let example: string
  let files: readonly string[]
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'choir-package-')))
    example = join(folder, 'example')
    await cp(join(root, 'examples/first-model'), example, {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    })
    const [packed] = JSON.parse(await npm(['pack', '--json', '--pack-destination', folder], root))
    files = packed.files.map(({ path }: { path: string }) => path)
    const tarball = join(folder, packed.filename)
    await npm([...installed, '--omit=optional', '--omit=dev', tarball], example)
  }, 300_000)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  test('holds the program, its types and its guides, and nothing else', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'bin/choir.js',
        'dist/faces/library/index.d.ts',
        'dist/faces/library/graph.d.ts',
        'dist/engine/cpu/wasm/kernels.wasm',
        'dist/program/licenses.md',
        'dist/web/licenses.md',
        'dist/play/licenses.md',
        'docs/configuration.md',
        'docs/architecture/graph.md',
        'python/modeling_choir.py',
        'package.json',
        'README.md',
        'LICENSE',
      ]),
    )
    expect(files.some((file) => /^dist\/web\/.*\.js$/.test(file))).toBe(true)
    // Of the modules that TypeScript writes, only the entries of the bundle, which load it.
    const modules = files.filter((file) => /^dist\/(?!program\/|web\/|play\/|share\/).*\.js$/.test(file))
    expect(modules.toSorted()).toEqual(entries.map((entry) => `dist/${entry}.js`).toSorted())
    expect(
      files.filter((file) => /\.test\.|\/testing\/|\.map$|\.png$|^docs\/results|^(?:src|test|bench)\//.test(file)),
    ).toEqual([])
  })

  test('is below 60 MB without optional packages, plans and reports, and names how to install them to compute', async () => {
    expect((await bytesIn(join(example, 'node_modules'))) / 1e6).toBeLessThan(60)
    // As npx does, but without the start of npm.
    const bin = join(example, 'node_modules/choir/bin/choir.js')
    const choir = async (...args: string[]) =>
      (await execute(process.execPath, [bin, ...args], { cwd: example, maxBuffer: 1 << 26 })).stdout
    expect(await choir('plan', 'm6t-1t', '--cluster', 'v100-480')).toContain('480')
    expect(await choir('inspect', 'demo')).toContain('parameters')
    const study = join(example, 'early-rate')
    await cp(join(root, 'docs/results/early-rate'), study, { recursive: true })
    expect(await choir('study', join(study, 'study.yaml'), '--report', '--out', study)).toMatch(/48 of 48/)
    const refused = (...args: string[]) => choir(...args).catch((error: { stderr: string }) => error.stderr)
    expect(await refused('train', 'tiny', '--out', 'run')).toContain('npm install --include=optional')
  }, 240_000)

  // The same folder goes on, as the messages of the program advise.
  describe('with optional packages, which are installed later', () => {
    beforeAll(() => npm([...installed, '--include=optional'], example), 300_000)

    test('has complete types: a strict project compiles, declarations of the package included', async () => {
      await npm(['run', 'types'], example)
    }, 120_000)

    test('trains, evaluates, writes, shows routing and plans', async () => {
      const output = await npm(['start'], example)
      expect(output).toMatch(/^step 100 {2}loss \d\.\d{3}/m)
      expect(output).toMatch(/^held-out loss \d\.\d{3} nats a token, \d\.\d{3} bits per byte$/m)
      expect(output).toMatch(/^The people.+$/m)
      const [, routing = ''] = /^(\S+→\d(?: {2}\S+→\d)+)$/m.exec(output) ?? []
      expect(routing.replace(/→\d(?: {2}|$)/g, '')).toBe('ThepeopleoftheUnitedStates')
      expect(output).toMatch(/480 V100: \d\.\d{2} s a step/)
    }, 240_000)

    test('fits a line with tensors and gradients alone', async () => {
      expect(await npm(['exec', '--', 'tsx', 'gradient.ts'], example)).toContain('w 2.000')
    }, 60_000)

    test('has its command line as npx choir', async () => {
      const version = JSON.parse(await npm(['pkg', 'get', 'version'], root))
      expect((await npm(['exec', '--', 'choir', '--version'], example)).trim()).toBe(version)
    }, 60_000)
  })

  test('refuses imports of files that it does not export', async () => {
    const inside = `import('choir/dist/node/train/train.js').catch((error) => console.log(error.code))`
    const { stdout } = await execute(process.execPath, ['-e', inside], { cwd: example })
    expect(stdout.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })
})
