import { builtinModules } from 'node:module'

/**
 * The layering of the house, checked: `npm run layers`.
 *
 * A folder of src/ is a floor. It imports itself, src/errors.ts, the floors named here and the packages
 * named here, and nothing else. A floor with `builtins: false` runs in a browser as it is, so it may not
 * import Node's own modules. Adding a floor or a package is a line in this table.
 */
const floors = {
  text: { below: [], packages: ['fastest-levenshtein'], builtins: false },
  law: { below: ['text'], packages: ['@stdlib/stats-base-dists-t-quantile', 'zod'], builtins: false },
  graph: { below: ['text'], packages: ['onnx-proto'], builtins: false },
  model: { below: ['text', 'graph'], packages: ['zod'], builtins: false },
  runtime: { below: ['text', 'graph'], packages: ['koffi', 'onnxruntime-node', 'webgpu'], builtins: true },
  config: { below: ['text', 'model'], packages: ['zod'], builtins: false },
  system: { below: ['text', 'runtime'], packages: [], builtins: true },
  data: {
    below: ['text', 'config', 'system'],
    packages: ['hyparquet', 'tokenizers', 'zod'],
    builtins: true,
  },
  corpus: { below: ['text', 'system'], packages: ['htmlparser2'], builtins: true },
  step: { below: ['text', 'graph', 'model', 'runtime', 'config', 'system', 'data'], packages: [], builtins: false },
  run: {
    below: ['text', 'graph', 'model', 'runtime', 'config', 'system', 'data', 'step'],
    packages: ['yaml', 'zod'],
    builtins: true,
  },
  measure: {
    below: ['text', 'graph', 'model', 'runtime', 'config', 'data', 'step', 'run'],
    packages: [],
    builtins: true,
  },
  train: {
    below: ['text', 'model', 'runtime', 'config', 'system', 'data', 'step', 'run', 'measure'],
    packages: [],
    builtins: true,
  },
  infer: {
    below: ['text', 'graph', 'model', 'runtime', 'config', 'system', 'data', 'step', 'run'],
    packages: ['zod'],
    builtins: true,
  },
  exchange: {
    below: ['text', 'graph', 'model', 'runtime', 'config', 'system', 'data', 'step', 'run', 'infer'],
    packages: ['onnx-proto', 'onnxruntime-node', 'zod'],
    builtins: true,
  },
  browser: {
    below: ['text', 'model', 'runtime', 'config', 'system', 'data', 'step', 'run', 'measure', 'train', 'infer'],
    packages: ['fflate', 'zod'],
    builtins: false,
  },
  launch: { below: ['text'], packages: ['yaml'], builtins: true },
  report: { below: ['text'], packages: ['d3-array', 'd3-shape'], builtins: false },
  plan: {
    below: [
      'text',
      'law',
      'graph',
      'model',
      'runtime',
      'config',
      'system',
      'data',
      'step',
      'run',
      'measure',
      'train',
      'report',
    ],
    packages: ['@stdlib/stats-base-dists-gamma-quantile', 'yaml', 'zod'],
    builtins: true,
  },
  study: {
    below: [
      'text',
      'law',
      'graph',
      'model',
      'runtime',
      'config',
      'system',
      'data',
      'step',
      'run',
      'measure',
      'train',
      'infer',
      'report',
    ],
    packages: [
      '@stdlib/stats-base-dists-normal-cdf',
      '@stdlib/stats-base-dists-t-cdf',
      '@stdlib/stats-base-dists-t-quantile',
      'd3-array',
      'hyparquet-writer',
      'yaml',
      'zod',
    ],
    builtins: true,
  },
  watch: {
    below: ['text', 'graph', 'model', 'runtime', 'config', 'system', 'data', 'step', 'run', 'infer'],
    packages: ['@hono/node-server', 'd3-array', 'hono', 'zod'],
    builtins: true,
  },
  library: {
    below: [
      'text',
      'graph',
      'model',
      'runtime',
      'config',
      'data',
      'step',
      'run',
      'measure',
      'train',
      'infer',
      'exchange',
      'browser',
      'plan',
      'watch',
    ],
    packages: ['zod'],
    builtins: true,
  },
  cli: {
    below: [
      'text',
      'law',
      'graph',
      'model',
      'runtime',
      'config',
      'system',
      'data',
      'step',
      'run',
      'measure',
      'train',
      'infer',
      'exchange',
      'report',
      'study',
      'plan',
      'watch',
      'launch',
      'corpus',
    ],
    packages: ['commander', 'd3-array', 'picocolors'],
    builtins: true,
  },
}

/** Code that only tests use: it may look upward, and import any package. */
const tests = '\\.test\\.ts$|/testing/|^test/'
/** Written in AssemblyScript, whose imports are its own matter. */
const assembly = '^src/runtime/wasm/assembly/'

const anyOf = (names) => `(?:${names.map((name) => name.replaceAll('.', '\\.')).join('|')})`

const rulesOf = ([floor, { below, packages, builtins }]) => {
  const from = { path: `^src/${floor}/`, pathNot: tests }
  const inFloors = `^src/${anyOf([floor, ...below])}/`
  // A package without types of its own resolves to its folder in @types.
  const inPackages = packages.map((name) => `(?:^|/)node_modules/(?:@types/)?${name}/`)
  return [
    {
      name: `${floor}-floors`,
      comment: `src/${floor} imports only itself, src/errors.ts${below.map((name) => `, src/${name}`).join('')}`,
      severity: 'error',
      from,
      to: { path: '^(?:src|bin|bench|test)/', pathNot: [inFloors, '^src/errors\\.ts$'] },
    },
    {
      name: `${floor}-packages`,
      comment: `src/${floor} imports only these packages: ${packages.join(', ')}`,
      severity: 'error',
      from,
      to: { path: '(?:^|/)node_modules/', pathNot: inPackages },
    },
    ...(builtins
      ? []
      : [
          {
            name: `${floor}-runs-anywhere`,
            comment: `src/${floor} runs in a browser: no module of Node`,
            severity: 'error',
            from,
            to: { dependencyTypes: ['core'] },
          },
        ]),
  ]
}

export default {
  forbidden: [
    ...Object.entries(floors).flatMap(rulesOf),
    {
      name: 'page',
      comment:
        'the page of the dashboard imports itself, the types of what the server answers, src/text, and these packages',
      severity: 'error',
      from: { path: '^web/src/', pathNot: tests },
      to: {
        path: '.',
        pathNot: [
          '^web/src/',
          '^src/watch/api\\.ts$',
          '^src/text/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|preact|uplot)/',
        ],
      },
    },
    {
      name: 'play',
      comment:
        'the page that trains stands on choir/web and the components of the dashboard; nothing of Node comes with them',
      severity: 'error',
      from: { path: '^web/play/', pathNot: [tests, '^web/play/(?:vite\\.config|routing-guide|speeches-file)\\.ts$'] },
      to: {
        path: '.',
        pathNot: [
          '^web/(?:play|src)/',
          '^src/library/web(?:-worker)?\\.ts$',
          '^src/watch/(?:api|runs/snapshots|runs/series)\\.ts$',
          '^src/text/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|preact|zod)/',
        ],
      },
    },
    {
      name: 'play-runs-in-browsers',
      comment: 'the page that trains reaches no module of Node',
      severity: 'error',
      from: { path: '^web/play/main\\.tsx$' },
      to: { reachable: true, path: `^(?:node:)?${anyOf(builtinModules)}$` },
    },
    {
      name: 'errors-below-all',
      comment: 'src/errors.ts is below every floor: it imports nothing',
      severity: 'error',
      from: { path: '^src/errors\\.ts$' },
      to: { path: '.' },
    },
    {
      name: 'known-floors',
      comment: 'every file of src/ is on a floor of the table in .dependency-cruiser.mjs, or is errors.ts',
      severity: 'error',
      from: { path: '^src/', pathNot: [`^src/${anyOf(Object.keys(floors))}/`, '^src/errors\\.ts$'] },
      to: {},
    },
    {
      name: 'test-code-in-tests',
      comment: 'test files and testing/ folders are imported by test code only',
      severity: 'error',
      from: { pathNot: tests },
      to: { path: tests },
    },
    {
      name: 'no-circles',
      comment:
        'no circular imports, except inside src/graph/ops: gradient rules are ops and refer to each other, in functions that run after all modules are loaded',
      severity: 'error',
      from: {},
      to: { circular: true, via: { pathNot: '^src/graph/ops/' } },
    },
    {
      name: 'no-doors',
      comment: 'an import names the file that it is of; src/library is for users of the package',
      severity: 'error',
      from: { path: '^(?:src|web|bench)/', pathNot: tests },
      to: { path: '/index\\.tsx?$', pathNot: 'node_modules/' },
    },
    {
      name: 'providers-apart',
      comment: 'sessions of ONNX Runtime and staged programs meet in src/runtime/cpu-runtime.ts alone',
      severity: 'error',
      from: { path: '^src/runtime/(onnxruntime|staged)/', pathNot: tests },
      to: { path: '^src/runtime/(?:onnxruntime|staged)/', pathNot: '^src/runtime/$1/' },
    },
    {
      name: 'contract-below-providers',
      comment: 'what all runtimes share knows none of them',
      severity: 'error',
      from: { path: '^src/runtime/[^/]+\\.ts$', pathNot: [tests, '^src/runtime/cpu-runtime\\.ts$'] },
      to: { path: '^src/runtime/[^/]+/' },
    },
    {
      name: 'runs-anywhere-whole',
      comment:
        'what runs in a browser reaches no module of Node, through any floor: memory and kernels come from a Runtime',
      severity: 'error',
      from: { path: `^src/${anyOf(Object.keys(floors).filter((floor) => !floors[floor].builtins))}/`, pathNot: tests },
      to: { reachable: true, path: `^(?:node:)?${anyOf(builtinModules)}$` },
    },
    {
      name: 'resolvable',
      comment: 'an import leads to a file or an installed package (bin/ imports the build at run time)',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: assembly },
    tsConfig: { fileName: 'tsconfig.json' },
    // Imports of types bind floors as much as imports of values.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types'],
    },
  },
}
