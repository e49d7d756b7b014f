/** What guides and examples import is exported, and the guides are in the package. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const manifest = JSON.parse(read('package.json')) as {
  exports: Record<string, string | { types: string }>
  files: string[]
}

/** The source file of each entry: `choir/graph` is src/faces/library/graph.ts. */
const entries = new Map(
  Object.entries(manifest.exports).flatMap(([path, target]) =>
    typeof target === 'string'
      ? []
      : [[`choir${path.slice(1)}`, join(root, target.types.replace('./dist', 'src').replace(/\.d\.ts$/, '.ts'))]],
  ),
)

/** The names that each entry exports, types included. */
function exportedNames(): ReadonlyMap<string, ReadonlySet<string>> {
  const options = { noLib: true, types: [], allowImportingTsExtensions: true, noEmit: true }
  const resolution = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }
  const program = ts.createProgram([...entries.values()], { ...options, ...resolution })
  const checker = program.getTypeChecker()
  return new Map(
    [...entries].map(([name, file]) => {
      const source = program.getSourceFile(file)
      const symbol = source && checker.getSymbolAtLocation(source)
      return [name, new Set((symbol ? checker.getExportsOfModule(symbol) : []).map((each) => each.name))]
    }),
  )
}

const guides = ['README.md', ...listed('docs', /^[^/]+\.md$/), ...listed('docs/architecture', /\.md$/)]
const code = [
  ...listed('examples', /^(?!.*node_modules).*\.tsx?$/),
  ...listed('src/faces/library', /^(?!.*\.test\.).*\.ts$/),
]

function listed(folder: string, pattern: RegExp): string[] {
  const all = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  return all
    .filter((entry) => entry.isFile())
    .map((entry) => relative(join(root, folder), join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((path) => pattern.test(path))
    .map((path) => `${folder}/${path}`)
}

/** The imports from an entry of the package: in the code blocks of a guide, or anywhere in a file of code. */
function importsIn(path: string): { readonly from: string; readonly name: string }[] {
  const text = path.endsWith('.md')
    ? read(path)
        .split(/^```(?:ts|js)?$/m)
        .filter((_, i) => i % 2 === 1)
        .join('\n')
    : read(path)
  return [...text.matchAll(/^[ *]*import (?:type )?\{([^}]*)\} from '(choir[^']*)'/gm)].flatMap(
    ([, names = '', from = '']) =>
      names
        .split(',')
        .map((name) => (name.replace(/^[\s*]*(?:type )?/, '').split(' as ')[0] ?? '').trim())
        .filter((name) => name !== '')
        .map((name) => ({ from, name })),
  )
}

test('everything that guides and examples import from the package is exported', () => {
  const exported = exportedNames()
  expect([...exported].filter(([, names]) => names.size === 0).map(([name]) => name)).toEqual(['choir/web/worker'])
  const used = [...guides, ...code].flatMap((path) => importsIn(path).map((each) => ({ path, ...each })))
  expect(used.filter(({ from, name }) => !exported.get(from)?.has(name))).toEqual([])
  // The search finds imports of every kind of file, of types, and over several lines.
  const found = used.map(({ path, name }) => `${path} ${name}`)
  for (const each of [
    'docs/library.md defineOp',
    'docs/library.md Tensor',
    'README.md train',
    'docs/web.md WebTraining',
  ])
    expect(found).toContain(each)
  for (const path of ['src/faces/library/graph.ts', 'examples/routers/previous-token.ts'])
    expect(used.some((each) => each.path === path)).toBe(true)
})

test('the functions that the guide of the library explains are imported in its code', () => {
  const text = read('docs/library.md')
  const explained = [...text.matchAll(/\*\*`(\w+)[(.]/g)].map(([, name]) => name)
  expect(explained).toContain('exportRun')
  const imported = importsIn('docs/library.md').map(({ name }) => name)
  expect(explained.filter((name) => !imported.includes(name as string))).toEqual([])
})

test('the table of operations has every operation, and nothing else', () => {
  const exported = exportedNames().get('choir/graph') ?? new Set<string>()
  const rows = read('docs/library.md').match(/^\| `[a-z].*$/gm) ?? []
  const named = rows.flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`(\w+)/g)].map(([, name = '']) => name))
  expect(named.length).toBeGreaterThan(50)
  expect(named.filter((name) => !exported.has(name))).toEqual([])
  // Parts of Choir's own layers, and what another paragraph explains.
  const elsewhere = /^(dispatch|combine|expert|sources|attentionKernel|emit|erfGate|defineOp|withKernels|createRuntime)/
  const operations = [...exported].filter((name) => /^[a-z]/.test(name) && !elsewhere.test(name))
  expect(operations.filter((name) => !named.includes(name) && name !== 'linearCrossEntropies')).toEqual([])
})

test('guides and the pages that they link to are in the package', () => {
  const shipped = (path: string) =>
    guides.includes(path) &&
    (path === 'README.md' ||
      manifest.files.includes(path.replace(/[^/]+\.md$/, '*.md')) ||
      manifest.files.includes(path))
  const missing = guides.flatMap((guide) =>
    [...read(guide).matchAll(/\]\(([^)#:]+\.md)(?:#[^)]*)?\)/g)]
      .map(([, link = '']) => join(guide, '..', link).replaceAll('\\', '/'))
      .filter((path) => /^docs\/(?!results|studies)/.test(path) && !shipped(path))
      .map((path) => `${guide}: ${path}`),
  )
  expect(missing).toEqual([])
})
