/**
 * A manifest for the MPI Operator of Kubeflow: an MPIJob (kubeflow.org/v2beta1). If the configuration is a file, a
 * ConfigMap with its contents precedes the MPIJob.
 *
 *     kind: MPIJob
 *     spec:
 *       slotsPerWorker: 4             # ranks of a worker
 *       mpiReplicaSpecs:
 *         Launcher: ...               # mpirun -n 8
 *         Worker:
 *           replicas: 2               # with 4 ranks × 8 threads = 32 CPUs each
 *
 * The operator gives workers names, keys for ssh, and a host file. A worker runs only sshd; mpirun starts the ranks.
 */
import { stringify } from 'yaml'
import { option, UsageError, wording } from '../../core/errors.ts'
import { commandLine } from '../../core/text/shell.ts'
import type { Layout } from './layout.ts'
import { type MpiLibrary, mpirunWords, rootVariables } from './mpirun.ts'
import { type RankProgram, startOrResume } from './program.ts'
import { attemptFunction } from './shell-job.ts'

export interface Volume {
  /** A PersistentVolumeClaim that all pods can mount. */
  readonly claim: string
  readonly path: string
}

export interface MpiJob {
  readonly name: string
  readonly namespace?: string
  readonly image: string
  readonly volumes: readonly Volume[]
  /** Memory of a worker, such as 16Gi. */
  readonly memory?: string
  /** The resource that is a GPU, such as nvidia.com/gpu, of which each rank has one; undefined: ranks use no GPUs. */
  readonly gpu?: string
  /** Further fields of the specification of every pod, such as `nodeSelector` and `tolerations`. */
  readonly podFields?: Readonly<Record<string, unknown>>
  /** A LocalQueue of Kueue, which admits the job. */
  readonly queue?: string
  /** Contents of the configuration file, which is mounted as {@link CONFIG_FILE}. */
  readonly config?: string
  readonly workers: number
  readonly layout: Layout
  readonly program: RankProgram
  readonly library: MpiLibrary
  readonly restarts: number
}

/** Host file that the operator mounts in the launcher. */
const HOST_FILE = '/etc/mpi/hostfile'
const CONFIG_FOLDER = '/etc/choir'
export const CONFIG_FILE = `${CONFIG_FOLDER}/config.yaml`

/**
 * Kueue takes the job from this label: https://kueue.sigs.k8s.io/docs/tasks/run/kubeflow/mpijobs/.
 */
const QUEUE_LABEL = 'kueue.x-k8s.io/queue-name'

/** Seconds that ranks have to save before a pod is removed. */
const GRACE_SECONDS = 120

export function mpiJobManifest(job: MpiJob): string {
  checkNames(job)
  const { name, layout, library, restarts, workers, config } = job
  const metadata = { name, ...(job.namespace !== undefined && { namespace: job.namespace }) }
  const queued = job.queue !== undefined && { labels: { [QUEUE_LABEL]: job.queue } }
  const manifest = {
    apiVersion: 'kubeflow.org/v2beta1',
    kind: 'MPIJob',
    metadata: { ...metadata, ...queued },
    spec: {
      slotsPerWorker: layout.ranksPerHost,
      mpiImplementation: library === 'openmpi' ? 'OpenMPI' : 'MPICH',
      // With the default policy, mpirun looks for workers that have no address yet.
      launcherCreationPolicy: 'WaitForWorkersReady',
      runPolicy: { cleanPodPolicy: 'Running', backoffLimit: restarts },
      mpiReplicaSpecs: {
        Launcher: { replicas: 1, restartPolicy: 'Never', template: { spec: launcherPod(job) } },
        Worker: { replicas: workers, restartPolicy: 'OnFailure', template: { spec: workerPod(job) } },
      },
    },
  }
  const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'config.yaml': config } }
  return [...(config === undefined ? [] : [configMap]), manifest]
    .map((document) => stringify(document, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n')
}

function launcherPod(job: MpiJob) {
  const { image, layout, program, library } = job
  const mpirun = mpirunWords(layout, { library, mpirun: 'mpirun', hostfile: HOST_FILE })
  const { choose, command } = startOrResume(program)
  const script = [
    // Kubernetes sends SIGTERM, on which mpirun would kill the ranks.
    ...attemptFunction(choose, `${commandLine(mpirun)} ${command}`, { on: 'TERM', send: 'USR1' }),
    '',
    'attempt',
    'exit "$code"',
    '',
  ].join('\n')
  const variables = library === 'openmpi' ? openMpiVariables : {}
  return {
    ...job.podFields,
    terminationGracePeriodSeconds: GRACE_SECONDS,
    containers: [
      {
        name: 'launcher',
        image,
        command: ['/bin/bash', '-c'],
        args: [script],
        env: Object.entries(variables).map(([name, value]) => ({ name, value })),
        resources: { requests: { cpu: 1, memory: '512Mi' }, limits: { cpu: 1, memory: '512Mi' } },
        volumeMounts: mounts(job),
      },
    ],
    volumes: volumes(job),
  }
}

/**
 * Variables of Open MPI 5. The operator sets the variables of Open MPI 4; version 5 starts ranks with PRRTE, whose
 * variables have other names. Containers run as root unless the image has another user, and then the root variables do
 * nothing.
 */
const openMpiVariables: Readonly<Record<string, string>> = {
  ...rootVariables,
  PRTE_MCA_plm_ssh_args: '-o ConnectionAttempts=10 -o StrictHostKeyChecking=no',
  PRTE_MCA_prte_keep_fqdn_hostnames: 'true',
}

/**
 * The variable NVIDIA_DRIVER_CAPABILITIES is read where the container is made: Vulkan is part of the capability
 * "graphics", which a container does not get otherwise.
 */
function workerPod(job: MpiJob) {
  const { image, layout, memory, program, gpu } = job
  // Requests equal limits, so that ranks get whole cores where the kubelet's CPU manager is static.
  const resources = {
    cpu: layout.ranksPerHost * layout.threads,
    ...(memory !== undefined && { memory }),
    ...(gpu !== undefined && { [gpu]: layout.ranksPerHost }),
  }
  return {
    ...job.podFields,
    terminationGracePeriodSeconds: GRACE_SECONDS,
    containers: [
      {
        name: 'worker',
        image,
        command: ['/usr/sbin/sshd'],
        args: ['-De'],
        ...(gpu !== undefined && { env: [{ name: 'NVIDIA_DRIVER_CAPABILITIES', value: 'all' }] }),
        resources: { requests: resources, limits: resources },
        lifecycle: { preStop: { exec: { command: ['/bin/bash', '-c', stopRanks(program)] } } },
        volumeMounts: [...mounts(job), { name: 'shm', mountPath: '/dev/shm' }],
      },
    ],
    // Ranks of a worker exchange rows in shared memory, of which a container has 64 MB otherwise.
    volumes: [...volumes(job), { name: 'shm', emptyDir: { medium: 'Memory' } }],
  }
}

/** Command that asks the ranks of a pod to save and stop, and waits for them: sshd ends at once, and they with it. */
function stopRanks({ program }: RankProgram): string {
  const path = program.at(-1) ?? ''
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/[^\w-]/g, '.')
  // The brackets keep the pattern from matching this command itself.
  const pattern = `[${name.slice(0, 1)}]${name.slice(1)} train `
  return `pkill -USR1 -f ${commandLine([pattern])}; while pgrep -f ${commandLine([pattern])} >/dev/null; do sleep 1; done`
}

const mounts = ({ volumes, config }: MpiJob) => [
  ...volumes.map(({ path }, i) => ({ name: `volume-${i}`, mountPath: path })),
  ...(config === undefined ? [] : [{ name: 'config', mountPath: CONFIG_FOLDER, readOnly: true }]),
]

const volumes = ({ name, volumes, config }: MpiJob) => [
  ...volumes.map(({ claim }, i) => ({ name: `volume-${i}`, persistentVolumeClaim: { claimName: claim } })),
  ...(config === undefined ? [] : [{ name: 'config', configMap: { name } }]),
]

/** @throws UsageError for names that Kubernetes refuses */
function checkNames({ name, namespace, volumes, memory, workers, podFields, queue, gpu }: MpiJob): void {
  // Pods have the name of the job with "-worker-" and a number; a name has at most 63 characters.
  const longest = 63 - `-worker-${workers - 1}`.length
  if (name.length > longest || !/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name))
    throw new UsageError(
      wording`invalid ${option('name')}: ${JSON.stringify(name)} (expected at most ${longest} lower-case letters, digits and -, a letter first)`,
    )
  if (namespace !== undefined && !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace))
    throw new UsageError(
      wording`invalid ${option('namespace')}: ${JSON.stringify(namespace)} (expected lower-case letters, digits and -)`,
    )
  for (const { claim } of volumes)
    if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(claim))
      throw new UsageError(
        wording`invalid ${option('volume')}: claim ${JSON.stringify(claim)} (expected lower-case letters, digits, - and .)`,
      )
  if (queue !== undefined && !/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(queue))
    throw new UsageError(
      wording`invalid ${option('queue')}: ${JSON.stringify(queue)} (expected lower-case letters, digits, - and .)`,
    )
  if (gpu !== undefined && !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\/[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/.test(gpu))
    throw new UsageError(
      wording`invalid ${option('gpuResource')}: ${JSON.stringify(gpu)} (expected a resource such as nvidia.com/gpu)`,
    )
  const own = OWN_FIELDS.find((field) => Object.hasOwn(podFields ?? {}, field))
  if (own !== undefined)
    throw new UsageError(
      wording`invalid ${option('pod')}: ${own} (expected fields that the manifest does not have, such as nodeSelector, tolerations or imagePullSecrets)`,
    )
  if (memory !== undefined && !/^\d+(\.\d+)?([KMGTP]i?|k)?$/.test(memory))
    throw new UsageError(
      wording`invalid ${option('memory')}: ${JSON.stringify(memory)} (expected an amount such as 16Gi)`,
    )
}

/** Fields of a pod that the manifest itself has. */
const OWN_FIELDS = ['containers', 'volumes', 'terminationGracePeriodSeconds', 'restartPolicy']

/** Parses the value of `--volume`. @throws UsageError if it is malformed */
export function parseVolume(text: string): Volume {
  const [, claim, path] = /^([^:]+):(\/[^:]*)$/.exec(text) ?? []
  if (claim === undefined || path === undefined)
    throw new UsageError(
      wording`invalid ${option('volume')}: ${JSON.stringify(text)} (expected CLAIM:PATH, such as training:/data)`,
    )
  return { claim, path }
}
