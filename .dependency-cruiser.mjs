import { builtinModules } from 'node:module'

/**
 * The layering of the house, checked: `npm run layers`.
 *
 * A folder of the second level of src/ is a floor. It imports itself, the files of src/core, the floors named here and
 * the packages named here, and nothing else. A floor with `node: false` runs in a browser as it is: it may not import
 * Node's own modules, nor a floor that does. Adding a floor or a package is a line in this table.
 */
const portable = {
  'core/text': { below: [], packages: ['fastest-levenshtein'] },
  'core/charts': { below: ['core/text'], packages: ['d3-array'] },
  'core/graph': { below: ['core/text'], packages: [] },
  'core/model': { below: ['core/text', 'core/graph'], packages: ['zod'] },
  'core/config': { below: ['core/text', 'core/model'], packages: ['zod'] },
  'engine/contract': { below: ['core/text', 'core/graph'], packages: [] },
  'engine/webgpu': { below: ['core/graph', 'engine/contract'], packages: [] },
  'train/data': { below: ['core/text', 'core/config'], packages: ['zod'] },
  'train/step': {
    below: ['core/text', 'core/graph', 'core/model', 'core/config', 'engine/contract', 'train/data'],
    packages: [],
  },
  'train/run': {
    below: ['core/text', 'core/graph', 'core/model', 'core/config', 'engine/contract', 'train/data', 'train/step'],
    packages: ['zod'],
  },
  'train/measure': {
    below: ['core/graph', 'core/model', 'engine/contract', 'train/data', 'train/step'],
    packages: [],
  },
  'train/loop': {
    below: [
      'core/text',
      'core/model',
      'core/config',
      'engine/contract',
      'train/data',
      'train/step',
      'train/run',
      'train/measure',
    ],
    packages: [],
  },
  'use/infer': {
    below: ['core/text', 'core/graph', 'core/model', 'core/config', 'engine/contract', 'train/data', 'train/step'],
    packages: ['zod'],
  },
  'faces/browser': {
    below: [
      'core/text',
      'core/model',
      'core/config',
      'engine/contract',
      'engine/webgpu',
      'train/data',
      'train/step',
      'train/run',
      'train/measure',
      'train/loop',
      'use/infer',
    ],
    packages: ['fflate', 'zod'],
  },
  'tools/law': { below: ['core/text'], packages: ['@stdlib/stats-base-dists-t-quantile', 'zod'] },
  'tools/report': { below: ['core/text', 'core/charts'], packages: ['d3-array', 'd3-shape'] },
}

/** What reads a run, beside what computes it. */
const runs = ['core/text', 'core/config', 'core/model', 'engine/contract', 'train/data', 'train/step', 'train/run']
const files = ['node/system', 'node/data', 'node/run']

const ofNode = {
  'engine/native': { below: ['core/text', 'engine/contract'], packages: ['koffi'] },
  'engine/world': { below: ['core/text', 'engine/contract', 'engine/native'], packages: [] },
  'engine/cpu': {
    below: ['core/text', 'core/graph', 'engine/contract', 'engine/native', 'engine/world'],
    packages: ['onnxruntime-node'],
  },
  'engine/dawn': { below: ['engine/contract', 'engine/webgpu'], packages: ['webgpu'] },
  'node/system': { below: ['core/text', 'engine/native'], packages: [] },
  'node/interrupts': { below: ['engine/native'], packages: [] },
  'node/data': {
    below: ['core/text', 'core/config', 'train/data', 'node/system'],
    packages: ['hyparquet', 'tokenizers', 'zod'],
  },
  'node/run': {
    below: ['core/graph', ...runs, 'engine/cpu', 'engine/webgpu', 'engine/dawn', 'node/system', 'node/data'],
    packages: ['@swc/wasm-typescript', 'yaml', 'zod'],
  },
  'node/routes': {
    below: ['core/text', 'core/config', 'core/model', 'train/data', 'node/system'],
    packages: ['hyparquet', 'hyparquet-writer', 'zod'],
  },
  'node/measure': { below: ['core/graph', ...runs, 'train/measure', 'node/run'], packages: [] },
  'node/train': {
    below: [
      ...runs,
      'engine/native',
      'engine/cpu',
      'engine/world',
      'train/measure',
      'train/loop',
      ...files,
      'node/routes',
      'node/measure',
    ],
    packages: [],
  },
  'use/foreign': { below: ['core/graph', ...runs, ...files], packages: ['zod'] },
  'use/runs': {
    below: [...runs, 'engine/native', 'use/infer', 'use/foreign', ...files],
    packages: ['@huggingface/jinja', 'zod'],
  },
  'use/interchange': {
    below: ['core/graph', ...runs, ...files, 'use/foreign', 'use/runs'],
    packages: ['onnxruntime-node', 'zod'],
  },
  'tools/check': {
    below: [
      'core/text',
      'core/graph',
      'core/model',
      'core/config',
      'engine/contract',
      'engine/world',
      'engine/cpu',
      'train/step',
      'node/run',
    ],
    packages: [],
  },
  'tools/launch': { below: ['core/text', 'node/run'], packages: ['yaml'] },
  'tools/plan': {
    below: [
      'core/graph',
      ...runs,
      'train/measure',
      ...files,
      'node/measure',
      'node/train',
      'tools/law',
      'tools/report',
    ],
    packages: ['@stdlib/stats-base-dists-gamma-quantile', '@stdlib/stats-base-dists-normal-cdf', 'yaml', 'zod'],
  },
  'tools/study': {
    below: [
      'core/charts',
      ...runs,
      'train/measure',
      'train/loop',
      'node/interrupts',
      ...files,
      'node/measure',
      'node/train',
      'use/infer',
      'use/runs',
      'tools/law',
      'tools/report',
      'tools/plan',
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
  },
  'tools/routes': {
    below: [
      'core/charts',
      ...runs,
      'node/system',
      'node/run',
      'node/routes',
      'use/infer',
      'use/runs',
      'tools/report',
      'tools/study',
    ],
    packages: ['zod'],
  },
  'faces/http': { below: ['node/system'], packages: ['@hono/node-server', 'hono'] },
  'faces/watch': {
    below: [...runs, 'engine/native', 'engine/cpu', ...files, 'use/infer', 'use/runs', 'tools/study', 'faces/http'],
    packages: ['d3-array', 'hono', 'zod'],
  },
  'faces/serve': { below: [...runs, 'use/infer', 'use/runs', 'tools/report', 'faces/http'], packages: ['hono', 'zod'] },
  'faces/library': {
    below: [
      'core/graph',
      ...runs,
      'engine/cpu',
      'train/measure',
      'train/loop',
      ...files,
      'node/routes',
      'node/train',
      'use/infer',
      'use/foreign',
      'use/runs',
      'use/interchange',
      'tools/plan',
      'tools/routes',
      'faces/browser',
    ],
    packages: ['zod'],
  },
  'faces/cli': {
    below: [
      'core/graph',
      ...runs,
      'engine/native',
      'engine/cpu',
      'engine/dawn',
      'engine/world',
      'train/measure',
      'train/loop',
      'node/interrupts',
      ...files,
      'node/routes',
      'node/measure',
      'node/train',
      'use/infer',
      'use/runs',
      'use/interchange',
      'tools/law',
      'tools/report',
      'tools/launch',
      'tools/check',
      'tools/plan',
      'tools/study',
      'tools/routes',
      'faces/http',
      'faces/watch',
      'faces/serve',
    ],
    packages: ['commander', 'd3-array', 'picocolors'],
  },
}

/**
 * The rooms of a floor, which are its sub-folders, from the lowest to the highest: a room imports itself and the rooms
 * before it. `.` is the room of the files beside the sub-folders: the lowest room, if they are what all rooms share, or
 * a high one, if they put the rooms together.
 */
const rooms = {
  'src/core/graph': ['.', 'kernels', 'stages', 'ops'],
  'src/core/model': ['config', 'own', 'routing', '.'],
  'src/engine/cpu': ['onnxruntime', 'wasm', 'primitives', 'staged', '.'],
  'src/engine/webgpu': ['codegen', 'kernels', 'program', '.'],
  'src/engine/world': ['mpi', '.', 'in-process', 'simulated'],
  'src/train/data': ['sources', 'tokenizer', 'streams', '.'],
  'src/train/step': ['metrics', 'store', 'optimizer', 'ranks', 'passes', '.', 'evaluation'],
  'src/train/run': ['checkpoint', '.'],
  'src/node/data': ['sources', 'streams', 'tokenizer', '.'],
  'src/node/run': ['checkpoint', 'plugins', 'ranks', '.'],
  'src/use/infer': ['json', 'quantized', 'generation', '.', 'scoring', 'streams'],
  'src/use/foreign': ['architectures', 'decode', '.', 'gguf'],
  'src/use/runs': ['chat', '.'],
  'src/use/interchange': ['.', 'export', 'import'],
  'src/tools/plan': ['inputs', 'work', 'cost', 'measured', 'search', '.', 'local', 'worth'],
  'src/tools/report': ['.', 'figures', 'page', 'paper'],
  'src/tools/routes': ['.', 'atlas'],
  'src/tools/study': ['.', 'grid', 'specialisation', 'results', 'analysis', 'runs', 'estimate', 'shown'],
  'src/faces/browser': ['storage', '.', 'worker'],
  'src/faces/watch': ['.', 'runs', 'tracing', 'http', 'share'],
  'src/faces/cli': ['.', 'display', 'log-to', 'study', 'launch', 'commands', 'program'],
  'web/src': ['controls', 'shared', 'shell', 'runs', 'curves', 'tokens', 'experts', 'ranks', '.'],
  'web/play': ['build', 'settings', '.'],
}

const floors = {
  ...Object.fromEntries(Object.entries(portable).map(([name, floor]) => [name, { ...floor, node: false }])),
  ...Object.fromEntries(Object.entries(ofNode).map(([name, floor]) => [name, { ...floor, node: true }])),
}

for (const [name, { below, node }] of Object.entries(floors))
  for (const other of below)
    if (!floors[other] || (!node && floors[other].node))
      throw new Error(
        `.dependency-cruiser.mjs: ${name} stands on ${other}, which ${floors[other] ? 'needs Node' : 'there is not'}`,
      )

/** Code that only tests use: it may look upward, and import any package. */
const tests = '\\.test\\.ts$|/testing/|^test/'
/** The files of src/core itself, which are below all floors. */
const CORE = '^src/core/[^/]+\\.ts$'
/** Code in AssemblyScript, whose imports are its own matter, and what the site was built into. */
const notCode = ['^src/engine/cpu/wasm/assembly/', '^site/dist/']

const anyOf = (names) => `(?:${names.map((name) => name.replaceAll('.', '\\.')).join('|')})`

const rulesOf = ([floor, { below, packages, node }]) => {
  const from = { path: `^src/${floor}/`, pathNot: tests }
  const inFloors = `^src/${anyOf([floor, ...below])}/`
  // A package without types of its own resolves to its folder in @types.
  const inPackages = packages.map((name) => `(?:^|/)node_modules/(?:@types/)?${name}/`)
  return [
    {
      name: `${floor}-floors`,
      comment: `src/${floor} imports only itself, src/core/errors.ts${below.map((name) => `, src/${name}`).join('')}`,
      severity: 'error',
      from,
      to: { path: '^(?:src|bin|bench|test)/', pathNot: [inFloors, CORE] },
    },
    {
      name: `${floor}-packages`,
      comment: `src/${floor} imports only these packages: ${packages.join(', ')}`,
      severity: 'error',
      from,
      to: { path: '(?:^|/)node_modules/', pathNot: inPackages },
    },
    ...(node
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

const roomRulesOf = ([floor, order]) => {
  const inRoom = (room) => (room === '.' ? `^${floor}/[^/]+$` : `^${floor}/${room}/`)
  return [
    ...order.slice(0, -1).map((room, index) => {
      const above = order.slice(index + 1)
      return {
        name: `${floor}-rooms`,
        comment: `${floor}/${room} imports no room above it: ${above.join(', ')} (the table of rooms)`,
        severity: 'error',
        from: { path: inRoom(room), pathNot: tests },
        to: { path: above.map(inRoom) },
      }
    }),
    {
      name: `${floor}-known-rooms`,
      comment: `every sub-folder of ${floor} is in the table of rooms in .dependency-cruiser.mjs`,
      severity: 'error',
      from: { path: `^${floor}/`, pathNot: [...order.map(inRoom), tests] },
      to: {},
    },
  ]
}

export default {
  forbidden: [
    ...Object.entries(floors).flatMap(rulesOf),
    ...Object.entries(rooms).flatMap(roomRulesOf),
    {
      name: 'floors-with-rooms',
      comment: 'a floor with sub-folders has a row in the table of rooms in .dependency-cruiser.mjs',
      severity: 'error',
      from: { path: '^src/[^/]+/[^/]+/[^/]+/', pathNot: [...Object.keys(rooms).map((name) => `^${name}/`), tests] },
      to: {},
    },
    {
      name: 'page',
      comment:
        'the page of the dashboard imports itself, the types of what the server answers, src/core/text, src/core/charts, and these packages',
      severity: 'error',
      from: { path: '^web/src/', pathNot: tests },
      to: {
        path: '.',
        pathNot: [
          '^web/src/',
          '^src/faces/watch/api\\.ts$',
          '^src/core/(?:text|charts)/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|d3-array|internmap|preact|uplot)/',
        ],
      },
    },
    {
      name: 'play',
      comment:
        'the page that trains stands on choir/web, the components of the dashboard and a replay; nothing of Node comes with them',
      severity: 'error',
      from: { path: '^web/play/', pathNot: [tests, '^web/play/(?:vite\\.config\\.ts$|build/)'] },
      to: {
        path: '.',
        pathNot: [
          '^web/(?:play|src)/',
          '^web/share/balancing\\.tsx$',
          '^docs/results/routing\\.json$',
          '^src/faces/library/web(?:-worker)?\\.ts$',
          '^src/faces/watch/(?:api|runs/snapshots|runs/series|share/shared-run)\\.ts$',
          '^src/core/(?:text|charts)/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|preact|zod)/',
        ],
      },
    },
    {
      name: 'shared-page',
      comment: 'the page of choir watch --share stands on the components of the dashboard and the types of its data',
      severity: 'error',
      from: { path: '^web/share/', pathNot: [tests, '^web/share/(?:vite\\.config|single-file)\\.ts$'] },
      to: {
        path: '.',
        pathNot: [
          '^web/(?:share|src)/',
          '^src/faces/watch/(?:api|share/shared-run)\\.ts$',
          '^src/core/(?:text|charts)/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|fflate|preact)/',
        ],
      },
    },
    {
      name: 'pictures-of-the-site',
      comment: 'the scripts of the front page and of the article stand on the parts of the pages, and on recorded runs',
      severity: 'error',
      from: { path: '^site/(?:front|article)/', pathNot: [tests, '^site/article/findings\\.ts$'] },
      to: {
        path: '.',
        pathNot: [
          '^site/(?:front|article)/(?!findings)',
          '^web/(?:share|src)/',
          '^docs/results/routing\\.json$',
          '^src/faces/watch/share/shared-run\\.ts$',
          '^src/core/text/',
          '(?:^|/)node_modules/(?:@preact/signals(?:-core)?|preact)/',
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
      name: 'core-below-all',
      comment: 'the files of src/core itself are below every floor: they import each other only',
      severity: 'error',
      from: { path: CORE, pathNot: tests },
      to: { path: '.', pathNot: CORE },
    },
    {
      name: 'known-floors',
      comment: 'every file of src/ is on a floor of the table in .dependency-cruiser.mjs, or in src/core itself',
      severity: 'error',
      from: { path: '^src/', pathNot: [`^src/${anyOf(Object.keys(floors))}/`, '^src/engine/testing/', CORE] },
      to: {},
    },
    {
      name: 'test-code-in-tests',
      comment: 'test files and testing/ folders are imported by test code, and by bench/, which is not shipped',
      severity: 'error',
      from: { pathNot: [tests, '^bench/'] },
      to: { path: tests },
    },
    {
      name: 'no-circles',
      comment:
        'no circular imports, except inside src/core/graph/ops: gradient rules are ops and refer to each other, in functions that run after all modules are loaded',
      severity: 'error',
      from: {},
      to: { circular: true, via: { pathNot: '^src/core/graph/ops/' } },
    },
    {
      name: 'no-doors',
      comment: 'an import names the file that it is of; src/faces/library is for users of the package',
      severity: 'error',
      from: { path: '^(?:src|web|bench)/', pathNot: tests },
      to: { path: '/index\\.tsx?$', pathNot: 'node_modules/' },
    },
    {
      name: 'providers-apart',
      comment: 'sessions of ONNX Runtime and staged programs meet in src/engine/cpu/cpu-runtime.ts alone',
      severity: 'error',
      from: { path: '^src/engine/cpu/(onnxruntime|staged)/', pathNot: tests },
      to: { path: '^src/engine/cpu/(?:onnxruntime|staged)/', pathNot: '^src/engine/cpu/$1/' },
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
    exclude: { path: notCode },
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
