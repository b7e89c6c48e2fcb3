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

import { describe, expect, it } from "vitest";
import { ByteLru } from "../../src/tokenunify/byte_lru.js";

describe("ByteLru", () => {
  it("pushes out what was used longest ago until the bytes fit", () => {
    const evicted: string[] = [];
    const lru = new ByteLru<number>(10, (key) => evicted.push(key));
    lru.set("a", 1, 4);
    lru.set("b", 2, 4);
    expect(lru.get("a")).toBe(1);
    lru.set("c", 3, 4);
    expect(evicted).toEqual(["b"]);
    expect([lru.has("a"), lru.has("b"), lru.has("c")]).toEqual([
      true,
      false,
      true,
    ]);
    expect(lru.bytes).toBe(8);
  });

  it("counts a replaced entry once", () => {
    const lru = new ByteLru<number>(10);
    lru.set("a", 1, 6);
    lru.set("a", 2, 7);
    expect([lru.get("a"), lru.bytes, lru.size]).toEqual([2, 7, 1]);
    expect(lru.delete("a")).toBe(true);
    expect(lru.bytes).toBe(0);
  });

  it("does not keep an entry larger than everything it may hold", () => {
    const evicted: string[] = [];
    const lru = new ByteLru<number>(10, (key) => evicted.push(key));
    lru.set("a", 1, 3);
    lru.set("b", 2, 11);
    expect([lru.size, lru.bytes]).toEqual([0, 0]);
    expect(evicted).toEqual(["a", "b"]);
  });
});
