// swift-tools-version: 6.1
import Foundation
import PackageDescription

/// Where libtorch lives: `LIBTORCH`, or the copy that `make setup` puts under `Vendor/`.
let libtorch = Context.environment["LIBTORCH"] ?? "\(Context.packageDirectory)/Vendor/libtorch"

/// A dependent's checkout has no `Vendor/`, and a package that is required by a version may pass no flags of its own:
/// there libtorch is found through pkg-config, by the `tihua-libtorch.pc` that `make setup` writes beside the library.
let isRoot = !Context.packageDirectory.contains("/checkouts/")
let cxxSettings: [CXXSetting] =
    !isRoot
    ? []
    : [
        .unsafeFlags([
            "-isystem", "\(libtorch)/include", "-isystem", "\(libtorch)/include/torch/csrc/api/include",
        ])
    ]
let torchLinker: [LinkerSetting] =
    !isRoot
    ? []
    : [
        .unsafeFlags([
            "-L\(libtorch)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(libtorch)/lib",
            "-Xlinker", "-rpath-link", "-Xlinker", "\(libtorch)/lib",
        ]),
        // Not libtorch.so: in a GPU wheel it drags in libtorch_cuda, which is opened at run time where there is a GPU.
        .linkedLibrary("torch_cpu"), .linkedLibrary("c10"),
    ]
let libtorchTarget: [Target] =
    isRoot
    ? [] : [.systemLibrary(name: "CTihuaLibtorch", path: "Sources/CLibtorch", pkgConfig: "tihua-libtorch")]
let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library target with the settings that every Swift target of the package shares. Modules carry the prefix `Tihua`,
/// since a program may also depend on a package with a module `Models`; their folders under `Sources` do without it.
func library(_ name: String, in folder: String? = nil, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(folder ?? String(name.dropFirst(5)))",
        swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, swiftSettings: swiftSettings)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// Only `make docs` needs the documentation tool; ordinary builds do not even resolve it.
let documentation: [Package.Dependency] =
    Context.environment["TIHUA_DOCS"] == nil
    ? [] : [.package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0")]

let package = Package(
    name: "Tihua",
    products: [
        .executable(name: "tihua", targets: ["TihuaCLI"]),
        // The engine: pictures to poems and captions.
        .library(name: "Tihua", targets: ["Tihua"]),
        .library(
            name: "TihuaTraining",
            targets: ["TihuaTraining", "TihuaMeasures", "TihuaEvaluation", "TihuaCorpora", "TihuaDataFiles"]),
        .library(name: "TihuaModels", targets: ["TihuaModels", "TihuaGeneration", "TihuaEncoders"]),
        .library(name: "TihuaTorch", targets: ["TihuaTorch", "TihuaNN"]),
        // Without libtorch.
        .library(name: "TihuaProsody", targets: ["TihuaProsody"]),
        .library(name: "TihuaVerse", targets: ["TihuaVerse"]),
        .library(name: "TihuaTokenizers", targets: ["TihuaTokenizers"]),
        .library(name: "TihuaPictures", targets: ["TihuaPictures"]),
        .library(name: "TihuaWeightFiles", targets: ["TihuaWeightFiles"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
    ] + documentation,
    targets: [
        // No Torch below this line: these build and test in seconds.
        .systemLibrary(
            name: "CTihuaOpenCC", path: "Sources/COpenCC", pkgConfig: "opencc", providers: [.apt(["libopencc-dev"])]),
        .systemLibrary(
            name: "CTihuaVipsSystem", path: "Sources/CVipsSystem", pkgConfig: "gobject-2.0",
            providers: [.apt(["libvips-dev"])]),
        .systemLibrary(
            name: "CTihuaFontsSystem", path: "Sources/CFontsSystem", pkgConfig: "fontconfig",
            providers: [.apt(["libvips-dev"])]),
        .systemLibrary(name: "CTihuaZlib", path: "Sources/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CTihuaVips", dependencies: ["CTihuaVipsSystem", "CTihuaFontsSystem"], path: "Sources/CVips",
            linkerSettings: [.linkedLibrary("vips")]),
        library("TihuaFiles"),
        library("TihuaProsody", ["TihuaFiles"]),
        library("TihuaTokenizers", ["TihuaFiles", "CTihuaOpenCC"]),
        library("TihuaPictures", ["TihuaFiles", "CTihuaVips"]),
        library("TihuaWeightFiles", ["TihuaFiles", "CTihuaZlib"]),
        library("TihuaVerse", ["TihuaFiles", "TihuaProsody", "TihuaTokenizers"]),
        library("TihuaDataFiles", ["TihuaFiles", "TihuaWeightFiles"]),
        library(
            "TihuaCorpora",
            ["TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaVerse", "TihuaWeightFiles", "TihuaDataFiles"]),
        library("TihuaEvaluation", ["TihuaFiles", "TihuaProsody"]),

        // Over libtorch.
        .target(
            name: "CTihuaKernels", dependencies: isRoot ? [] : ["CTihuaLibtorch"], path: "Sources/CKernels",
            cxxSettings: cxxSettings, linkerSettings: torchLinker),
        .target(
            name: "CTihuaTorch", dependencies: ["CTihuaKernels"] + (isRoot ? [] : ["CTihuaLibtorch"]),
            path: "Sources/CTorch", cxxSettings: cxxSettings, linkerSettings: torchLinker),
        library("TihuaTorch", ["TihuaFiles", "TihuaWeightFiles", "CTihuaTorch"]),
        library("TihuaNN", in: "TorchNN", ["TihuaTorch"]),
        library("TihuaModels", ["TihuaFiles", "TihuaWeightFiles", "TihuaTorch", "TihuaNN"]),
        library(
            "TihuaGeneration",
            ["TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaVerse", "TihuaTorch", "TihuaModels"]),
        library(
            "TihuaEncoders",
            [
                "TihuaFiles", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaTorch", "TihuaNN",
                "TihuaModels",
            ]),
        library(
            "TihuaTraining",
            [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaCorpora",
                "TihuaEvaluation", "TihuaVerse", "TihuaTorch", "TihuaNN", "TihuaModels", "TihuaGeneration",
                "TihuaEncoders",
            ]),
        library(
            "Tihua", in: "Engine",
            [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaVerse", "TihuaTorch", "TihuaModels", "TihuaGeneration", "TihuaEncoders",
            ]),

        library(
            "TihuaMeasures",
            [
                "TihuaFiles", "TihuaProsody", "TihuaPictures", "TihuaDataFiles", "TihuaCorpora", "TihuaEvaluation", "TihuaVerse",
                "TihuaTorch",
                "TihuaModels", "TihuaGeneration", "TihuaEncoders", "TihuaTraining", "Tihua",
            ]),

        .executableTarget(
            name: "TihuaCLI",
            dependencies: [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaCorpora",
                "TihuaEvaluation", "TihuaVerse", "TihuaTorch", "TihuaNN", "TihuaModels", "TihuaGeneration",
                "TihuaEncoders", "TihuaTraining", "Tihua", "TihuaMeasures", argumentParser,
            ], path: "Sources/tihua", swiftSettings: swiftSettings),

        // For developing Tihua.
        .executableTarget(
            name: "prosody-tables", dependencies: ["TihuaFiles", "TihuaProsody", "TihuaCorpora", argumentParser],
            path: "Tools/prosody-tables", swiftSettings: swiftSettings),
        .executableTarget(
            name: "tihua-bench",
            dependencies: [
                "TihuaPictures", "TihuaWeightFiles", "TihuaTorch", "TihuaNN", "TihuaModels", "TihuaGeneration",
                "TihuaEncoders", argumentParser,
            ],
            path: "Benchmarks/Sources", swiftSettings: swiftSettings),

        // Tests.
        .target(name: "TihuaTestSupport", path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .target(
            name: "TihuaPackSupport",
            dependencies: [
                "TihuaProsody", "TihuaPictures", "TihuaVerse", "TihuaTorch", "TihuaNN", "TihuaModels",
                "TihuaGeneration",
            ],
            path: "Tests/PackSupport",
            swiftSettings: swiftSettings),
        tests("Files", ["TihuaFiles"]),
        tests("Prosody", ["TihuaProsody", "TihuaTestSupport"]),
        tests("Verse", ["TihuaProsody", "TihuaVerse", "TihuaTestSupport"]),
        tests("Tokenizers", ["TihuaTokenizers", "TihuaWeightFiles", "TihuaTestSupport"]),
        tests("Pictures", ["TihuaPictures", "CTihuaVips", "TihuaTestSupport"]),
        tests("WeightFiles", ["TihuaFiles", "TihuaWeightFiles", "TihuaTestSupport"]),
        tests(
            "Corpora",
            ["TihuaFiles", "TihuaTokenizers", "TihuaWeightFiles", "TihuaDataFiles", "TihuaCorpora", "TihuaTestSupport"]),
        tests("DataFiles", ["TihuaFiles", "TihuaWeightFiles", "TihuaDataFiles", "TihuaTestSupport"]),
        tests("ProsodyTables", ["TihuaProsody", "TihuaTokenizers", "TihuaTestSupport", "prosody-tables"]),
        tests("Evaluation", ["TihuaProsody", "TihuaEvaluation", "TihuaTestSupport"]),
        tests("Torch", ["TihuaWeightFiles", "TihuaTorch", "TihuaNN", "TihuaTestSupport"]),
        tests("Models", ["TihuaWeightFiles", "TihuaTorch", "TihuaNN", "TihuaModels", "TihuaTestSupport"]),
        tests(
            "Generation",
            [
                "TihuaProsody", "TihuaWeightFiles", "TihuaVerse", "TihuaTorch", "TihuaNN", "TihuaModels",
                "TihuaGeneration",
                "TihuaTestSupport",
            ]),
        tests(
            "Training",
            [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaCorpora",
                "TihuaVerse", "TihuaTorch", "TihuaNN", "TihuaModels", "TihuaGeneration", "TihuaEncoders",
                "TihuaTraining", "TihuaTestSupport",
            ]),
        tests(
            "Engine",
            [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaVerse",
                "TihuaTorch", "TihuaNN",
                "TihuaModels", "TihuaGeneration", "Tihua", "TihuaPackSupport", "TihuaEncoders",
                "TihuaTestSupport",
            ]),
        tests(
            "Measures",
            [
                "TihuaProsody", "TihuaDataFiles", "TihuaCorpora", "TihuaEvaluation", "TihuaVerse", "TihuaTorch",
                "TihuaNN",
                "TihuaModels", "TihuaGeneration", "TihuaTraining", "Tihua", "TihuaMeasures", "TihuaPackSupport",
            ]),
        tests(
            "Fuzz",
            [
                "TihuaFiles", "TihuaProsody", "TihuaTokenizers", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles",
                "TihuaCorpora",
                "TihuaVerse", "TihuaNN", "TihuaModels", "TihuaTraining", "Tihua", "TihuaPackSupport",
                "TihuaTestSupport", "TihuaEncoders",
            ]),
        tests(
            "CLI",
            [
                "TihuaFiles", "TihuaProsody", "TihuaPictures", "TihuaWeightFiles", "TihuaDataFiles", "TihuaCorpora",
                "TihuaPackSupport",
                "TihuaTestSupport",
            ]),
    ] + libtorchTarget,
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx20
)
