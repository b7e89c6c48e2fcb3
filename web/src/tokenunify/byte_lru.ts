/**
 * @license
 * Copyright 2026 The TokenUnify Authors
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */

/**
 * @file A least-recently-used cache bounded by the bytes that it holds.
 */

export class ByteLru<Value> {
  // A Map iterates in order of insertion; touching an entry re-inserts it.
  private readonly entries = new Map<string, { value: Value; bytes: number }>();
  private total = 0;

  /**
   * @param capacityBytes most bytes kept; an entry larger than that is not kept
   * @param onEvict called for each entry that is pushed out
   */
  constructor(
    private readonly capacityBytes: number,
    private readonly onEvict: (key: string, value: Value) => void = () => {},
  ) {}

  get bytes(): number {
    return this.total;
  }

  get size(): number {
    return this.entries.size;
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** Looks an entry up and marks it as used. */
  get(key: string): Value | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: Value, bytes: number): void {
    this.delete(key);
    this.entries.set(key, { value, bytes });
    this.total += bytes;
    for (const [oldest, entry] of this.entries) {
      if (this.total <= this.capacityBytes) break;
      this.delete(oldest);
      this.onEvict(oldest, entry.value);
    }
  }

  /** Removes an entry without calling `onEvict`. */
  delete(key: string): boolean {
    const entry = this.entries.get(key);
    if (entry === undefined) return false;
    this.entries.delete(key);
    this.total -= entry.bytes;
    return true;
  }

  clear(): void {
    this.entries.clear();
    this.total = 0;
  }
}
