/**
 * Types of the parts of the web platform that store bytes. They are declared here because TypeScript's DOM library
 * would give every file of Choir a `document`.
 */

export interface Directory {
  getDirectoryHandle(name: string, options: { readonly create: boolean }): Promise<Directory>
  getFileHandle(name: string, options: { readonly create: boolean }): Promise<FileHandle>
  removeEntry(name: string): Promise<void>
}

export interface FileHandle {
  getFile(): Promise<{ arrayBuffer(): Promise<ArrayBuffer> }>
  /** Exists in dedicated workers only. */
  createSyncAccessHandle?(): Promise<SyncAccess>
  createWritable?(): Promise<{ write(bytes: Uint8Array): Promise<void>; close(): Promise<void> }>
}

export interface SyncAccess {
  truncate(bytes: number): void
  /** Returns the number of bytes that were written. */
  write(bytes: Uint8Array, options: { readonly at: number }): number
  flush(): void
  close(): void
}

export interface Database {
  createObjectStore(name: string): unknown
  transaction(store: string, mode: 'readonly' | 'readwrite', options?: { readonly durability: 'strict' }): Transaction
  close(): void
}

export interface Transaction {
  objectStore(name: string): {
    get(key: string): Request<unknown>
    put(value: unknown, key: string): Request<unknown>
    delete(key: string): Request<unknown>
  }
  oncomplete: (() => void) | null
  onabort: (() => void) | null
  readonly error: Error | null
}

export interface Request<T> {
  onsuccess: (() => void) | null
  onerror: (() => void) | null
  onupgradeneeded?: (() => void) | null
  readonly result: T
  readonly error: Error | null
}

export interface StoragePlatform {
  readonly navigator?: { readonly storage?: { getDirectory?(): Promise<Directory> } }
  readonly indexedDB?: { open(name: string, version: number): Request<Database> }
}

export const platform = globalThis as unknown as StoragePlatform
