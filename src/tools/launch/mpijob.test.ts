import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assert, constantFrom, integer, property, record } from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { type MpiJob, mpiJobManifest, parseVolume } from './mpijob.ts'

/**
 * The parts of the custom resource definition that a manifest uses, written by hand after
 * manifests/base/kubeflow.org_mpijobs.yaml of kubeflow/mpi-operator, with the rules of pkg/apis/kubeflow/validation.
 * The schemas are strict: a misspelt field is an error here, where Kubernetes would drop it.
 */
const label = z
  .string()
  .regex(/^[a-z]([-a-z0-9]*[a-z0-9])?$/)
  .max(63)
const amounts = z.strictObject({
  cpu: z.int().positive(),
  memory: z
    .string()
    .regex(/^\d+(\.\d+)?([KMGTP]i?|k)?$/)
    .optional(),
  'nvidia.com/gpu': z.int().positive().optional(),
})
const command = z.array(z.string()).min(1)
const container = z.strictObject({
  name: label,
  image: z.string().min(1),
  command: command.optional(),
  args: z.array(z.string()).optional(),
  env: z.array(z.strictObject({ name: z.string(), value: z.string() })).optional(),
  resources: z.strictObject({ requests: amounts, limits: amounts }).optional(),
  lifecycle: z.strictObject({ preStop: z.strictObject({ exec: z.strictObject({ command }) }) }).optional(),
  volumeMounts: z.array(
    z.strictObject({ name: label, mountPath: z.string().startsWith('/'), readOnly: z.boolean().optional() }),
  ),
})
const pod = z
  .strictObject({
    nodeSelector: z.record(z.string(), z.string()).optional(),
    tolerations: z.array(z.record(z.string(), z.string())).optional(),
    imagePullSecrets: z.array(z.strictObject({ name: z.string() })).optional(),
    terminationGracePeriodSeconds: z.int().nonnegative().optional(),
    containers: z.array(container).min(1),
    volumes: z.array(
      z.union([
        z.strictObject({ name: label, persistentVolumeClaim: z.strictObject({ claimName: z.string() }) }),
        z.strictObject({ name: label, configMap: z.strictObject({ name: z.string() }) }),
        z.strictObject({ name: label, emptyDir: z.strictObject({ medium: z.literal('Memory') }) }),
      ]),
    ),
  })
  .refine(
    ({ containers, volumes }) =>
      containers.every((one) => one.volumeMounts.every(({ name }) => volumes.some((volume) => volume.name === name))),
    'every mount has a volume',
  )
const replica = z.strictObject({
  replicas: z.int().min(1),
  restartPolicy: z.enum(['Never', 'OnFailure']),
  template: z.strictObject({ spec: pod }),
})
const metadata = z.strictObject({
  name: label,
  namespace: label.optional(),
  labels: z.record(z.string(), z.string()).optional(),
})
const mpiJob = z
  .strictObject({
    apiVersion: z.literal('kubeflow.org/v2beta1'),
    kind: z.literal('MPIJob'),
    metadata,
    spec: z.strictObject({
      slotsPerWorker: z.int().nonnegative(),
      mpiImplementation: z.enum(['OpenMPI', 'Intel', 'MPICH']),
      launcherCreationPolicy: z.enum(['AtStartup', 'WaitForWorkersReady']).optional(),
      runPolicy: z.strictObject({
        cleanPodPolicy: z.enum(['None', 'Running', 'All']),
        backoffLimit: z.int().nonnegative().optional(),
      }),
      mpiReplicaSpecs: z.strictObject({ Launcher: replica.refine(({ replicas }) => replicas === 1), Worker: replica }),
    }),
  })
  .refine(({ metadata: { name }, spec }) => {
    const { replicas } = spec.mpiReplicaSpecs.Worker
    return label.safeParse(`${name}-worker-${replicas - 1}`).success
  }, 'the last pod has a valid name')
const configMap = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata,
  data: z.strictObject({ 'config.yaml': z.string() }),
})

const job: MpiJob = {
  name: 'demo',
  image: 'registry/choir:1',
  volumes: [{ claim: 'training', path: '/data' }],
  workers: 2,
  layout: { hosts: null, ranks: 8, ranksPerHost: 4, threads: 8, bound: false, oversubscribe: false },
  library: 'openmpi',
  restarts: 3,
  program: {
    program: ['/usr/local/bin/choir'],
    directory: '/data/runs/demo',
    start: ['demo', '--out', '/data/runs/demo'],
    resume: ['--resume', '/data/runs/demo'],
    options: ['--threads', '8'],
  },
}

/** The documents of a manifest; fails if a parser of YAML 1.2 has errors or warnings. */
function documents(text: string): unknown[] {
  return parseAllDocuments(text).map((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([])
    return document.toJS()
  })
}

test('any manifest is a valid MPIJob, whose ranks, slots and processors agree', () => {
  assert(
    property(
      record({
        workers: integer({ min: 1, max: 500 }),
        ranksPerHost: integer({ min: 1, max: 64 }),
        threads: integer({ min: 1, max: 32 }),
      }),
      constantFrom('openmpi' as const, 'mpich' as const),
      constantFrom(undefined, 'a: 1\n# a "comment"\n', '{"model": {"layers": 2}}', '---\nx: |\n  y\n'),
      constantFrom({}, { namespace: 'ml', memory: '16Gi' }),
      (sizes, library, config, more) => {
        const { workers, ranksPerHost, threads } = sizes
        const layout = { ...job.layout, ranks: workers * ranksPerHost, ranksPerHost, threads }
        const read = documents(
          mpiJobManifest({ ...job, ...more, workers, layout, library, ...(config !== undefined && { config }) }),
        )
        const { spec } = mpiJob.parse(read.pop())
        if (config === undefined) expect(read).toEqual([])
        else expect(configMap.parse(read[0]).data['config.yaml']).toBe(config)
        const { Launcher, Worker } = spec.mpiReplicaSpecs
        expect(Worker.replicas * spec.slotsPerWorker).toBe(layout.ranks)
        const { resources } = Worker.template.spec.containers[0] ?? {}
        expect(resources?.requests.cpu).toBe(spec.slotsPerWorker * threads)
        expect(resources?.limits).toEqual(resources?.requests)
        const script = Launcher.template.spec.containers[0]?.args?.[0] ?? ''
        expect(script).toMatch(new RegExp(`mpirun (--hostfile|-f) /etc/mpi/hostfile -n ${layout.ranks} `))
      },
    ),
    { numRuns: 100 },
  )
})

test.each<[Partial<MpiJob>, string]>([
  [{ name: 'My_run' }, 'invalid name: "My_run" (expected at most 54 lower-case letters'],
  [{ name: 'a'.repeat(60) }, 'invalid name'],
  [{ namespace: 'A b' }, 'invalid namespace: "A b"'],
  [{ queue: 'Big queue' }, 'invalid queue: "Big queue"'],
  [{ podFields: { volumes: [] } }, 'invalid pod: volumes (expected fields that the manifest does not have'],
  [{ memory: '16 GB' }, 'invalid memory: "16 GB" (expected an amount such as 16Gi)'],
  [{ volumes: [{ claim: 'A', path: '/data' }] }, 'invalid volume: claim "A"'],
])('%j is refused', (change, message) => {
  expect(() => mpiJobManifest({ ...job, ...change })).toThrow(message)
})

test('fields of pods are in all pods, the queue is in the metadata, and workers have shared memory', () => {
  const podFields = {
    nodeSelector: { pool: 'cpu' },
    tolerations: [{ key: 'batch', operator: 'Exists' }],
    imagePullSecrets: [{ name: 'registry' }],
  }
  const { metadata, spec } = mpiJob.parse(documents(mpiJobManifest({ ...job, podFields, queue: 'training' }))[0])
  expect(metadata.labels).toEqual({ 'kueue.x-k8s.io/queue-name': 'training' })
  const { Launcher, Worker } = spec.mpiReplicaSpecs
  for (const { template } of [Launcher, Worker]) expect(template.spec).toMatchObject(podFields)
  const mounts = Worker.template.spec.containers[0]?.volumeMounts ?? []
  const name = mounts.find(({ mountPath }) => mountPath === '/dev/shm')?.name
  expect(Worker.template.spec.volumes).toContainEqual({ name, emptyDir: { medium: 'Memory' } })
})

test('a volume is a claim and an absolute path', () => {
  expect(parseVolume('training:/data')).toEqual({ claim: 'training', path: '/data' })
  for (const text of ['training', ':/data', 'training:data', 'a:/b:ro'])
    expect(() => parseVolume(text)).toThrow('CLAIM:PATH')
})

describe.skipIf(process.platform === 'win32')('the scripts in pods, run by bash', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'choir-pod-'))
    // This script stands in for mpirun. It notes its arguments, and ends with 130 a while after SIGUSR1, as if it
    // saved.
    writeFileSync(
      join(folder, 'mpirun'),
      `#!/bin/bash
echo "$@" > "$NOTES"
trap 'echo usr1 >> "$NOTES"; sleep 0.3; exit 130' USR1
if [ -n "$WAIT" ]; then echo ready; while :; do sleep 0.05; done; fi
exit 0
`,
    )
    chmodSync(join(folder, 'mpirun'), 0o755)
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const notes = () => join(folder, 'notes')
  function launcher(name: string, wait: string) {
    const directory = join(folder, name)
    const program = { ...job.program, directory, start: ['demo', '--out', directory], resume: ['--resume', directory] }
    const { spec } = mpiJob.parse(documents(mpiJobManifest({ ...job, program }))[0])
    const { command = [], args = [] } = spec.mpiReplicaSpecs.Launcher.template.spec.containers[0] ?? {}
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, NOTES: notes(), WAIT: wait }
    return { words: [...command, ...args] as [string, ...string[]], env, directory }
  }

  test('the launcher starts a new run, and continues one that exists', () => {
    const { words, env, directory } = launcher("a new 'run'", '')
    const [bash, ...args] = words
    expect(spawnSync(bash, args, { env }).status).toBe(0)
    const ranks = '--hostfile /etc/mpi/hostfile -n 8 --bind-to none /usr/local/bin/choir train'
    expect(readFileSync(notes(), 'utf8')).toBe(`${ranks} demo --out ${directory} --threads 8\n`)
    mkdirSync(directory)
    writeFileSync(join(directory, 'config.json'), '{}')
    expect(spawnSync(bash, args, { env }).status).toBe(0)
    expect(readFileSync(notes(), 'utf8')).toBe(`${ranks} --resume ${directory} --threads 8\n`)
  })

  test('SIGTERM reaches mpirun as SIGUSR1, and the launcher waits until the ranks have saved', async () => {
    const { words, env } = launcher('stopped', '1')
    const [bash, ...args] = words
    const child = spawn(bash, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    expect((await once(child, 'exit'))[0]).toBe(130)
    expect(readFileSync(notes(), 'utf8')).toMatch(/\nusr1\n$/)
  })
})
