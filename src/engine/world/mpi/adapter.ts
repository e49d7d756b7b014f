/**
 * The functions of MPI that Choir calls, for both families of libraries, by FFI.
 *
 * All ranks form one communicator. A message is a range of memory, named by its address. The caller that posts a
 * message keeps the memory alive until {@link Mpi.test} reports its end, because the library reads or writes it at any
 * time until then. All calls are made on the thread that called {@link Mpi.init}.
 */

import { RuntimeError } from '../../contract/runtime-error.ts'
import { addressOf, loadLibrary } from '../../native/ffi.ts'
import { koffi } from '../../native/koffi.ts'
import type { Family, MpiLibrary } from './library.ts'

/** A message under way: the library's handle of a request. */
export type Request = bigint

/** A message that failed after it was posted. */
export class MessageError extends RuntimeError {
  /** Whether the message is longer than the memory of its receiver. */
  readonly truncated: boolean

  constructor(message: string, truncated: boolean) {
    super(message)
    this.truncated = truncated
  }
}

/** Constants of a family's `mpi.h`. */
interface Abi {
  /** C type of handles: addresses in Open MPI, integers in MPICH. */
  readonly handle: 'uintptr_t' | 'int'
  readonly world: bigint | number
  readonly float: bigint | number
  readonly byte: bigint | number
  readonly errorsReturn: bigint | number
  readonly anySource: number
  /** Class of the error that a message is longer than its buffer. */
  readonly truncated: number
}

type Library = ReturnType<typeof loadLibrary>

const abiOf: Readonly<Record<Family, (library: Library) => Abi>> = {
  'Open MPI': (library) => {
    const symbol = (name: string): bigint => koffi.address(library.symbol(name))
    return {
      handle: 'uintptr_t',
      world: symbol('ompi_mpi_comm_world'),
      float: symbol('ompi_mpi_float'),
      byte: symbol('ompi_mpi_byte'),
      errorsReturn: symbol('ompi_mpi_errors_return'),
      anySource: -1,
      truncated: 15,
    }
  },
  MPICH: () => ({
    handle: 'int',
    world: 0x44000000,
    float: 0x4c00040a,
    byte: 0x4c00010d,
    errorsReturn: 0x54000001,
    anySource: -2,
    truncated: 14,
  }),
}

const THREAD_FUNNELED = 1
/** Sizes of texts, at least as large as in both families. */
const MAX_VERSION_BYTES = 8192
const MAX_ERROR_BYTES = 1024
/** Bytes of a status, more than in either family. Only the library's functions read it. */
const STATUS_BYTES = 64
const MAX_COUNT = 2 ** 31 - 1
const pointer = 'uintptr_t'

type Call = (...args: readonly (number | bigint)[]) => number

export class Mpi {
  private readonly abi: Abi
  private readonly call: Readonly<Record<keyof ReturnType<typeof functions>, Call>>
  /** Results of calls: a handle (4 or 8 bytes), and integers. */
  private readonly handleCell = new BigUint64Array(1)
  private readonly integerCell = new Int32Array(2)
  private readonly countCell = new BigInt64Array(1)
  private readonly status = new Uint8Array(STATUS_BYTES)
  private readonly handleAt = addressOf(this.handleCell)
  private readonly integerAt = addressOf(this.integerCell)
  private readonly countAt = addressOf(this.countCell)
  private readonly statusAt = addressOf(this.status)

  constructor({ path, family }: MpiLibrary) {
    const library = loadLibrary(path)
    this.abi = abiOf[family](library)
    this.call = functions(library, this.abi.handle)
  }

  /** Starts MPI. Returns after all ranks have called it. */
  init(): void {
    this.expect('MPI_Init_thread', this.call.init(0, 0, THREAD_FUNNELED, this.integerAt))
    const provided = this.integerCell[0] as number
    if (provided < THREAD_FUNNELED)
      throw new RuntimeError(
        `the MPI library supports no threads (level ${provided}); use one that was built with threads`,
      )
    // By default the library ends the process before we can report between which ranks an error occurred.
    this.expect('MPI_Comm_set_errhandler', this.call.setErrorHandler(this.abi.world, this.abi.errorsReturn))
  }

  rank(): number {
    this.expect('MPI_Comm_rank', this.call.rank(this.abi.world, this.integerAt))
    return this.integerCell[0] as number
  }

  size(): number {
    this.expect('MPI_Comm_size', this.call.size(this.abi.world, this.integerAt))
    return this.integerCell[0] as number
  }

  /** Name and version of the library, such as "Open MPI 5.0.7". */
  version(): string {
    const text = new Uint8Array(MAX_VERSION_BYTES)
    this.expect('MPI_Get_library_version', this.call.version(addressOf(text), this.integerAt))
    return versionOf(new TextDecoder().decode(text.subarray(0, this.integerCell[0])))
  }

  isend(address: number, bytes: number, peer: number, tag: number): Request {
    return this.start('MPI_Isend', this.call.isend, address, bytes, peer, tag)
  }

  irecv(address: number, bytes: number, peer: number, tag: number): Request {
    return this.start('MPI_Irecv', this.call.irecv, address, bytes, peer, tag)
  }

  private start(name: string, call: Call, address: number, bytes: number, peer: number, tag: number): Request {
    // Counts are 32 bits wide; counts of floats reach four times as far as counts of bytes.
    const [type, unit] = bytes % 4 === 0 ? [this.abi.float, 4] : [this.abi.byte, 1]
    if (bytes / unit > MAX_COUNT) throw new RuntimeError(`internal: a message of ${bytes} bytes is too long for MPI`)
    this.handleCell[0] = 0n
    this.expect(name, call(address, bytes / unit, type, peer, tag, this.abi.world, this.handleAt))
    return this.handleCell[0]
  }

  /**
   * Lets the library work.
   * @returns Whether the message has ended; then the request is invalid.
   * @throws MessageError if the message failed
   */
  test(request: Request): boolean {
    this.handleCell[0] = request
    this.integerCell[0] = 0
    const code = this.call.test(this.handleAt, this.integerAt, this.statusAt)
    if (code !== 0) throw new MessageError(this.text(code), this.classOf(code) === this.abi.truncated)
    return this.integerCell[0] !== 0
  }

  /** The peer that stands for any rank. */
  get anySource(): number {
    return this.abi.anySource
  }

  /** Whether a message of any rank has arrived for which no receive has been posted. */
  probe(tag: number): boolean {
    const code = this.call.probe(this.abi.anySource, tag, this.abi.world, this.integerAt, this.statusAt)
    this.expect('MPI_Iprobe', code)
    return this.integerCell[0] !== 0
  }

  /** Size of the message that the last {@link test} received, in bytes. */
  receivedBytes(): number {
    this.expect('MPI_Get_elements_x', this.call.bytesOf(this.statusAt, this.abi.byte, this.countAt))
    return Number(this.countCell[0])
  }

  /** Ends all ranks. The call may return, or not. */
  abort(code: number): void {
    this.call.abort(this.abi.world, code)
  }

  finalize(): void {
    this.expect('MPI_Finalize', this.call.finalize())
  }

  private expect(name: string, code: number): void {
    if (code !== 0) throw new RuntimeError(`${name} failed: ${this.text(code)}`)
  }

  private classOf(code: number): number {
    return this.call.errorClass(code, this.integerAt) === 0 ? (this.integerCell[0] as number) : -1
  }

  private text(code: number): string {
    const text = new Uint8Array(MAX_ERROR_BYTES)
    if (this.call.errorText(code, addressOf(text), this.integerAt) !== 0) return `error ${code}`
    return new TextDecoder().decode(text.subarray(0, this.integerCell[0]))
  }
}

function functions(library: Library, handle: Abi['handle']) {
  const message = [pointer, 'int', handle, 'int', 'int', handle, pointer]
  const declare = (name: string, parameters: readonly string[]): Call => library.func(name, 'int', [...parameters])
  return {
    init: declare('MPI_Init_thread', [pointer, pointer, 'int', pointer]),
    setErrorHandler: declare('MPI_Comm_set_errhandler', [handle, handle]),
    rank: declare('MPI_Comm_rank', [handle, pointer]),
    size: declare('MPI_Comm_size', [handle, pointer]),
    version: declare('MPI_Get_library_version', [pointer, pointer]),
    isend: declare('MPI_Isend', message),
    irecv: declare('MPI_Irecv', message),
    test: declare('MPI_Test', [pointer, pointer, pointer]),
    probe: declare('MPI_Iprobe', ['int', 'int', handle, pointer, pointer]),
    bytesOf: declare('MPI_Get_elements_x', [pointer, handle, pointer]),
    errorClass: declare('MPI_Error_class', ['int', pointer]),
    errorText: declare('MPI_Error_string', ['int', pointer, pointer]),
    abort: declare('MPI_Abort', [handle, 'int']),
    finalize: declare('MPI_Finalize', []),
  }
}

/** Shortens the text in which a library names itself, which can have many lines. */
export function versionOf(text: string): string {
  const openMpi = /^Open MPI v([^\s,]+)/.exec(text)
  if (openMpi) return `Open MPI ${openMpi[1]}`
  const mpich = /^MPICH Version:\s*(\S+)/.exec(text)
  if (mpich) return `MPICH ${mpich[1]}`
  return (text.split(/[\n\0]/)[0] as string).trim()
}
