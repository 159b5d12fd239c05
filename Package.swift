// swift-tools-version: 6.1
import Foundation
import PackageDescription

/// Where libtorch lives: `LIBTORCH`, or the copy that `make setup` puts under `Vendor/`.
let libtorch = Context.environment["LIBTORCH"] ?? "\(Context.packageDirectory)/Vendor/libtorch"

let cxxFlags: [CXXSetting] = [
    .unsafeFlags([
        "-std=c++20", "-isystem", "\(libtorch)/include",
        "-isystem", "\(libtorch)/include/torch/csrc/api/include",
    ])
]
let torchLinker: [LinkerSetting] = [
    .unsafeFlags([
        "-L\(libtorch)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(libtorch)/lib",
        "-Xlinker", "-rpath-link", "-Xlinker", "\(libtorch)/lib",
    ]),
    // Not libtorch.so: in a GPU wheel it drags in libtorch_cuda, which is opened at run time where there is a GPU.
    .linkedLibrary("torch_cpu"), .linkedLibrary("c10"),
]
let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library target with the settings that every Swift target of the package shares.
func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil,
    linker: [LinkerSetting] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, resources: resources, swiftSettings: swiftSettings,
        linkerSettings: linker)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies + ["TestSupport"], exclude: [],
        swiftSettings: swiftSettings)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// Only `make docs` needs the documentation tool; ordinary builds do not even resolve it.
let documentation: [Package.Dependency] =
    Context.environment["TIHUA_DOCS"] == nil
    ? [] : [.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0")]

let package = Package(
    name: "Tihua",
    products: [
        .executable(name: "tihua", targets: ["tihua"]),
        .library(name: "Torch", targets: ["Torch", "TorchNN"]),
        .library(name: "Prosody", targets: ["Prosody"]),
        .library(name: "Tokenizers", targets: ["Tokenizers"]),
        .library(name: "Pictures", targets: ["Pictures"]),
        .library(name: "Tihua", targets: ["Pipelines", "Models", "Generation", "Training", "Corpora", "Evaluation"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
    ] + documentation,
    targets: [
        // No Torch below this line: these build and test in seconds.
        .systemLibrary(
            name: "COpenCC", path: "Sources/COpenCC", pkgConfig: "opencc", providers: [.apt(["libopencc-dev"])]),
        .systemLibrary(
            name: "CVipsSystem", path: "Sources/CVipsSystem", pkgConfig: "gobject-2.0",
            providers: [.apt(["libvips-dev"])]),
        .systemLibrary(
            name: "CFontsSystem", path: "Sources/CFontsSystem", pkgConfig: "fontconfig",
            providers: [.apt(["libvips-dev"])]),
        .systemLibrary(name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CVips", dependencies: ["CVipsSystem", "CFontsSystem"], linkerSettings: [.linkedLibrary("vips")]),
        library("Files"),
        library("Prosody"),
        library("Tokenizers", ["Files", "COpenCC"]),
        library("Pictures", ["Files", "CVips"]),
        library("WeightFiles", ["Files", "CZlib"]),
        library("Corpora", ["Files", "Tokenizers", "Prosody", "WeightFiles"]),
        library("Evaluation", ["Files", "Tokenizers", "Prosody"]),

        // Over libtorch.
        .target(name: "CTorch", cxxSettings: cxxFlags, linkerSettings: torchLinker),
        library("Torch", ["CTorch", "Files", "WeightFiles"]),
        library("TorchNN", ["Torch"]),
        library("Models", ["TorchNN", "WeightFiles"]),
        library("Generation", ["Models", "Prosody", "Tokenizers", "Evaluation"]),
        library("Training", ["Models", "Generation", "Corpora", "Evaluation", "Pictures", "WeightFiles"]),
        library("Pipelines", ["Generation", "Pictures", "Corpora"]),

        .executableTarget(
            name: "tihua",
            dependencies: [
                "Pipelines", "Training", "Evaluation", "Generation", "Models", "TorchNN", "Torch",
                "Corpora", "Prosody", "Tokenizers", "Pictures", "WeightFiles", "Files", argumentParser,
            ], swiftSettings: swiftSettings),

        .executableTarget(
            name: "tihua-bench", dependencies: ["Generation", "Models", "TorchNN", "Torch", argumentParser],
            path: "Benchmarks/Sources", swiftSettings: swiftSettings),

        // Tests.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .target(
            name: "PackSupport", dependencies: ["Generation", "Pictures"], path: "Tests/PackSupport",
            swiftSettings: swiftSettings),
        tests("Files", ["Files"]),
        tests("Prosody", ["Prosody"]),
        tests("Tokenizers", ["Tokenizers"]),
        tests("Pictures", ["Pictures", "CVips"]),
        tests("WeightFiles", ["WeightFiles"]),
        tests("Corpora", ["Corpora", "Prosody", "Tokenizers"]),
        tests("Evaluation", ["Evaluation", "Prosody"]),
        tests("Torch", ["TorchNN", "Torch", "WeightFiles"]),
        tests("Models", ["Models"]),
        tests("Generation", ["Generation", "TorchNN"]),
        tests("Training", ["Training", "WeightFiles"]),
        tests("Pipelines", ["Pipelines", "PackSupport", "WeightFiles"]),
        tests(
            "Fuzz",
            ["Pipelines", "Training", "Corpora", "Prosody", "Tokenizers", "Pictures", "Models", "Files", "PackSupport"]),
        tests("CLI", ["PackSupport", "Corpora", "Prosody"]),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx20
)
